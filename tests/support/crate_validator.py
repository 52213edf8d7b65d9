"""The validator of RO-Crates in an environment of its own, made once beside the packages in use.

Its pinned rich is older than the one that import-linter needs, so both cannot be in one.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LOCK = Path(__file__).resolve().parents[2] / "app/locks/crate-validator.txt"
CHECK = Path(__file__).with_name("check_crate.py")
SECONDS = 600  # to install it


def findings(crate: Path, folder: Path) -> list[str]:
    """What a crate does not meet of the required and recommended; files of its own in `folder`."""
    command = [_python(), CHECK, crate, folder / "http-cache"]
    # Where the system allows it, in a network name space that leads nowhere.
    if not subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        command = ["unshare", "-rn", *command]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS)
    lines = done.stdout.splitlines()
    assert done.returncode == (1 if lines else 0), done.stderr
    return lines


def _python() -> Path:
    """The environment's Python; skips the test where the environment cannot be installed."""
    folder = Path(sys.prefix) / "crate-validator"
    stamp = folder / hashlib.sha256(LOCK.read_bytes()).hexdigest()
    with Path(sys.prefix, ".crate-validator.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            install = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
            install += ["--require-hashes", "--requirement", LOCK]
            done = subprocess.run(
                list(map(str, install)), capture_output=True, text=True, timeout=SECONDS
            )
            if done.returncode:
                pytest.skip(f"roc-validator cannot be installed: {done.stderr.strip()[-200:]}")
            stamp.touch()
    return folder / "bin/python"
