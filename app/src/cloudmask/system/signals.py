"""Signals that ask a process to stop: noticed at the next good moment, or at once.

SIGTERM comes from a batch system that cancels or preempts a job, SIGUSR1 from one that warns before
the time limit, SIGINT from Ctrl-C, SIGHUP when a terminal closes.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType

from cloudmask.errors import Interrupted

_Handler = Callable[[int, FrameType | None], None]


@dataclass
class StopRequest:
    """Whether somebody has asked the process to stop."""

    requested: bool = False


@contextlib.contextmanager
def stop_requests(*numbers: signal.Signals) -> Iterator[StopRequest]:
    """For the block, the signals (SIGTERM and SIGUSR1 without any) set the request's `requested`.

    The work looks at it where it can save its state.
    """
    stop = StopRequest()

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True

    with _handled(numbers or (signal.SIGTERM, signal.SIGUSR1), request):
        yield stop


@contextlib.contextmanager
def interrupted_by(*numbers: signal.Signals, message: str) -> Iterator[None]:
    """For the block, the first of these signals raises Interrupted(message) where the work stands.

    Further ones are ignored until the block has ended, so that they do not disturb its cleaning up.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        ignore(*numbers)
        raise Interrupted(message)

    with _handled(numbers, interrupt):
        yield


def ignore(*numbers: signal.Signals) -> None:
    """Ignore the signals from now on."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...], handler: _Handler) -> Iterator[None]:
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, earlier in zip(numbers, before, strict=True):
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
