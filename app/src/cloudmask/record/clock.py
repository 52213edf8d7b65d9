"""The one clock of a process, from which time stamps and durations are both taken.

A time stamp and a duration of two clocks contradict each other as soon as the system's time is set,
and an interval can seem to end before it began. Here the difference of two time stamps is the
duration.
"""

import time

_EPOCH = time.time() - time.perf_counter()


def now() -> float:
    """Seconds since 1970; never goes back, as the system's time was set when the process began."""
    return _EPOCH + time.perf_counter()
