"""The definition file as built for each base, against the files of tests/golden."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import golden

from cloudmask import __version__
from cloudmask.hardware.base_images import read_base_images

BUILD = Path(__file__).resolve().parents[2] / "containers" / "build.py"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"


def definition(base):
    """What `build.py --definition` prints, without what changes from commit to commit."""
    options = ("--mirror", "http://mirror/debian", "--digest", DIGEST)
    wheels = ("--wheels", f"build/wheels/{base}", "--out", "image.sif")
    done = subprocess.run(
        [sys.executable, BUILD, "--base", base, "--definition", *options, *wheels],
        env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    text = re.sub(r'(COMMIT="|\.revision )[\w-]+', r"\1(commit)", done.stdout)
    return re.sub(rf"(\.version |cloudmask ){re.escape(__version__)}", r"\1(version)", text)


@pytest.mark.parametrize("base", read_base_images().bases)
def test_the_definition_of_every_base(base):
    text = definition(base)
    assert "{{" not in text
    golden.check(f"definition-{base}.txt", text)
