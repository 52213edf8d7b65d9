"""Progress bars in terminals of several widths."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

TRACK = """
import time
from cloudmask.system.progress import track
for _ in track(range(5), 5, "making scenes"):
    time.sleep(0.12)
"""
EPOCH = """
import time
from types import SimpleNamespace
from cloudmask.train.progress import EpochFigures, EpochProgress
progress = EpochProgress("epoch 112/200", SimpleNamespace(steps=485, samples=15520), True)
for step in (100, 200, 485):
    time.sleep(0.12)
    progress.show(EpochFigures(step, 0.12345, 0.91234, 8.0, 0.5))
progress.close()
"""


def drawn(code: str, columns: int, **environment: str) -> list[str]:
    """The states of a bar that a program draws on a terminal so wide."""
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=end,
        stdout=subprocess.DEVNULL,
        env=os.environ | environment,
    )
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # The program has ended.
            break
    os.close(terminal)
    assert child.wait(60) == 0, shown
    return [line for line in re.split(r"[\r\n]+", shown.decode()) if line.strip()]


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_bars_fit(columns):
    states = drawn(TRACK, columns)
    assert len(states) > 2
    assert max(map(len, states)) <= columns
    assert states[-1].startswith("making scenes: 100%")
    # The time that is left is not cut off.
    assert re.search(r"[\[<]00:0\d", states[-2]), states


@pytest.mark.parametrize(("columns", "figures"), [(40, 1), (80, 2), (120, 3), (160, 4)])
def test_the_bar_of_an_epoch_fits_with_as_many_figures_as_there_is_room_for(columns, figures):
    states = drawn(EPOCH, columns)
    assert max(map(len, states)) <= columns
    parts = ["loss 0.1235", "accuracy 0.9123", "patches/s", "waiting for data 6.2%"]
    found = [part for part in parts if part in states[-1]]
    assert found == parts[:figures]


def test_a_terminal_without_utf_8():
    states = drawn(TRACK, 80, PYTHONIOENCODING="ascii")
    assert states[-1].isascii()
    assert "#" in states[-1]
