"""Signals that ask a process to stop: noticed at the next good moment, or at once.

SIGTERM comes from a batch system that cancels or preempts a job, SIGUSR1 from one that warns before
the time limit, SIGINT from Ctrl-C, SIGHUP when a terminal closes.

Python runs a handler between two of its own instructions: never while a library waits for another
node or for a lock, and what a handler raises is lost in a callback, whose errors Python only
prints, or in code in C that prints errors itself. So a thread watches, too: it sends what was lost
once more, and ends the process if a request has no effect.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from cloudmask.errors import EXIT_INTERRUPTED, Interrupted

# Seconds that work may take to end after a request: cleaning up, or, where it looks at the request
# itself, the step it is in and the saving.
GRACE, GRACE_OF_SAVING = 60.0, 300.0

# The same signal once more counts only after this: batch systems send one twice in a row.
REPEATED_SECONDS = 5.0


@dataclass
class StopRequest:
    """Whether somebody has asked the process to stop.

    The work sets `noticed_by_work` as soon as it looks at `requested`; before, a request interrupts
    it at once, since there is nothing to save.
    """

    requested: bool = False
    noticed_by_work: bool = False


_Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def stop_requests(*numbers: signal.Signals, message: str = "stopped") -> Iterator[StopRequest]:
    """For the block, the signals (SIGTERM and SIGUSR1 without any) set the request's `requested`.

    The work looks at it where it can save its state. Until it says that it does, the first signal
    raises Interrupted(message) where the work stands.
    """
    stop = StopRequest()

    def request() -> None:
        stop.requested = True
        if not stop.noticed_by_work:
            raise Interrupted(message)

    with _caught(_Request(numbers or (signal.SIGTERM, signal.SIGUSR1), request, stop)):
        yield stop


@contextlib.contextmanager
def interrupted_by(*numbers: signal.Signals, message: str) -> Iterator[StopRequest]:
    """For the block, the first of these signals raises Interrupted(message) where the work stands.

    Further ones do not disturb its cleaning up, unless one is repeated after some seconds: it ends
    the process as it does by itself.
    """
    stop = StopRequest()

    def interrupt() -> None:
        stop.requested = True
        if len(request.came) == 1:
            raise Interrupted(message)

    request = _Request(numbers, interrupt)
    with _caught(request):
        yield stop


@contextlib.contextmanager
def interrupts_noted() -> Iterator[StopRequest]:
    """For the block, note whether SIGINT came; it raises KeyboardInterrupt as without this."""
    stop = StopRequest()

    def interrupt(number: int, frame: FrameType | None) -> None:
        stop.requested = True
        signal.default_int_handler(number, frame)

    usual = signal.default_int_handler
    if signal.getsignal(signal.SIGINT) is not usual or not _in_main_thread():
        yield stop  # Whoever started it may have it ignored.
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        with _printing(lambda error: stop.requested):
            yield stop
    finally:
        signal.signal(signal.SIGINT, usual)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Have signals that come in the block take effect at its end.

    What a handler raises while Python copies the process for a child is lost, and a lock of
    `logging` may never be given back.
    """
    if not _in_main_thread():
        yield  # Handlers run in the main thread alone.
        return
    came: list[int] = []
    handlers: dict[int, _Handler] = {}
    for number in map(int, signal.valid_signals()):
        if callable(handler := signal.getsignal(number)):
            handlers[number] = handler
    for number in handlers:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for number in came:
        handlers[number](number, None)


def ignore(*numbers: signal.Signals) -> None:
    """Ignore the signals from now on."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


@dataclass
class _Request:
    """What is done about signals: `react` at the first of each kind.

    came: when each did. lost: the one whose exception Python could only print, else None.
    """

    numbers: tuple[signal.Signals, ...]
    react: Callable[[], None]
    stop: StopRequest = field(default_factory=StopRequest)
    came: dict[int, float] = field(default_factory=dict)
    lost: int | None = None

    def was_lost(self, error: BaseException | None) -> bool:
        """Whether an error that would only be printed is a request to stop; noted if it is."""
        if isinstance(error, KeyboardInterrupt):
            self.lost = signal.SIGINT
        elif isinstance(error, Interrupted) and self.came:
            self.lost = next(iter(self.came))
        else:
            return False
        return True

    def not_printed(self, error: BaseException | None) -> bool:
        """Whether code in C need not print an error: a request, or what it made of one."""
        return self.was_lost(error) or bool(self.came)

    def send_lost(self) -> None:
        """Send again what was lost."""
        if self.lost is not None:
            number, self.lost = self.lost, None
            self.came.pop(number, None)
            os.kill(os.getpid(), number)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        now = time.monotonic()
        if number not in self.came:
            self.came[number] = now
            self.react()
        elif now - self.came[number] > REPEATED_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def overdue(self, number: int, waited: float) -> bool:
        """Whether a signal that came so many seconds ago should have ended the process."""
        if not self.stop.noticed_by_work:
            return waited > GRACE
        # The work knows and may save; a handler that has not even run shows that it is stuck.
        return number not in self.came and waited > GRACE_OF_SAVING


@contextlib.contextmanager
def _caught(request: _Request) -> Iterator[None]:
    if not _in_main_thread():
        # Only the main thread gets signals, and may say what they do.
        yield
        return
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ended = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(request, read, ended), name="signals", daemon=True
    )
    watcher.start()
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    before = [signal.signal(number, request.handle) for number in request.numbers]
    usual = sys.unraisablehook
    sys.unraisablehook = lambda report: request.was_lost(report.exc_value) or usual(report)
    try:
        with _printing(request.not_printed):
            yield
    finally:
        sys.unraisablehook = usual
        for number, earlier in zip(request.numbers, before, strict=True):
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
        signal.set_wakeup_fd(wakeup)
        ended.set()
        watcher.join()
        os.close(read)
        os.close(write)


@contextlib.contextmanager
def _printing(exempt: Callable[[BaseException | None], bool]) -> Iterator[None]:
    """For the block, code in C prints no errors that are exempt.

    What it prints (PyErr_Print) goes through Python's hook for errors that nobody caught, which are
    none of the main thread's as long as the block lasts.
    """
    usual = sys.excepthook
    sys.excepthook = lambda kind, error, trace: exempt(error) or usual(kind, error, trace)
    try:
        yield
    finally:
        sys.excepthook = usual


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _watch(request: _Request, read: int, ended: threading.Event) -> None:
    """End the process if a signal that came has no effect."""
    came: dict[int, float] = {}
    while not ended.wait(0.2):
        request.send_lost()
        with contextlib.suppress(BlockingIOError):
            for number in os.read(read, 64):
                if number in request.numbers:
                    came.setdefault(number, time.monotonic())
        for number, when in came.items():
            if request.overdue(number, time.monotonic() - when):
                name = signal.Signals(number).name
                print(f"interrupted: {name} had no effect on the work", file=sys.stderr, flush=True)
                os._exit(EXIT_INTERRUPTED)
