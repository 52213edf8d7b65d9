"""The batch system's wish that the run stop soon."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGUSR1 set."""
    asked = threading.Event()
    wanted = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.signal(number, lambda *_: asked.set()) for number in wanted]
    try:
        yield asked
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
