"""Which process is meant: a process number alone is given to others once its process is dead."""

import os
from pathlib import Path


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
