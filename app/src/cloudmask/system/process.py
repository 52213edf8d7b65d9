"""Which process is meant, and that a child does not outlive its parent.

A process number alone is given to others once its process is dead.
"""

import ctypes
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cloudmask.errors import EXIT_FAULT
from cloudmask.system import signals

_PR_SET_PDEATHSIG = 1  # of linux/prctl.h

# Loaded here, since a child that was just forked can do little more than call it.
_prctl = ctypes.CDLL(None).prctl


def started(process: int) -> int | None:
    """When a process of this node began, in clock ticks since the boot; None if it is dead.

    A process that has ended counts as dead although its parent has not taken note of that yet.
    0 stands for a living process of which no more is known.
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:  # It lives, and belongs to another user.
        pass
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The name in parentheses may hold any character; the state follows it, the start is field 22.
    fields = text.rpartition(")")[2].split()
    if len(fields) < 20:
        return 0
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def alive(process: int, start: int) -> bool:
    """Whether the process that `started` described by `start` still lives; 0 matches any."""
    now = started(process)
    return now is not None and (now == start or 0 in {now, start})


def end_with(parent: int, number: int) -> None:
    """Have this process get a signal when its parent dies, however that dies; at once if it has.

    The kernel takes the thread that started this process for the parent: that one must stay.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    # The parent may have died before the kernel was told.
    if os.getppid() != parent:
        os._exit(EXIT_FAULT)


def start(command: Sequence[str | Path], ending: int, **options: Any) -> "subprocess.Popen[Any]":
    """Start a program that gets the signal `ending` when this process dies: see `end_with`.

    options: of subprocess.Popen. A program that changes its user, as some installations of
    Apptainer do, is out of reach.
    """
    own = os.getpid()
    with signals.deferred():
        return subprocess.Popen(command, preexec_fn=lambda: end_with(own, ending), **options)


def run(
    command: Sequence[str | Path], ending: int, **options: Any
) -> "subprocess.CompletedProcess[Any]":
    """The same as subprocess.run, for a program that `start` starts."""
    with start(command, ending, **options) as child:
        try:
            output, errors = child.communicate()
        except BaseException:
            child.kill()
            raise
    return subprocess.CompletedProcess(command, child.returncode, output, errors)
