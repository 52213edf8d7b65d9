"""Pages in a real browser, without a network and without a window."""

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

DARK = "--blink-settings=preferredColorScheme=0"


def browser():
    """Path of a Chromium; skips the test where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium: the page was not opened in a browser")
    return found


def start(page, width, *options, limit=120):
    """What Chromium prints of the page, seen in a window of `width` pixels."""
    with tempfile.TemporaryDirectory() as profile:
        base = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        base += [f"--user-data-dir={profile}", f"--window-size={width},900"]
        return subprocess.run(
            [browser(), *base, *options, Path(page).as_uri()],
            capture_output=True,
            text=True,
            timeout=limit,
        ).stdout


ASK = """
<script>(async () => { SCRIPT })().then(told => {
  const out = document.createElement("pre");
  out.id = "told";
  out.textContent = JSON.stringify(told);
  document.body.append(out);
});</script>
"""


def told(text, script, width, folder, *options):
    """The value that `script`, the body of an asynchronous function, returns in the page `text`."""
    page = Path(folder) / "page.html"
    page.write_text(text + ASK.replace("SCRIPT", script))
    shown = start(page, width, "--virtual-time-budget=20000", "--dump-dom", *options)
    return json.loads(html.unescape(re.search(r'<pre id="told">(.*?)</pre>', shown, re.S)[1]))
