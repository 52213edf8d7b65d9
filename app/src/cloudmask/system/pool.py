"""Processes for work on many arrays: they end with their parent and keep their memory."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from cloudmask.errors import Fault
from cloudmask.system import process, signals

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of GNU's malloc.h


@contextlib.contextmanager
def open_pool(count: int) -> Iterator[ProcessPoolExecutor]:
    """For the block, a pool of `count` processes, each a fresh interpreter.

    At the end of the block, work that has not begun is dropped. Raises Fault if a process died.
    """
    # The pool needs a thread, and starts its processes first: they would die with tracebacks.
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    # Not forked: the caller may hold threads, which a forked child would inherit half-dead.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, initializer=_begin, initargs=(os.getpid(),))
    try:
        yield pool
    except BrokenProcessPool:
        raise Fault(
            "a worker process died (out of memory?); the same command continues, "
            "perhaps with fewer --workers"
        ) from None
    finally:
        with contextlib.suppress(RuntimeError):  # Its thread could not be started.
            pool.shutdown(cancel_futures=True)


def _begin(parent: int) -> None:
    """Set up a worker of the process `parent`."""
    process.end_with(parent, signal.SIGKILL)
    # The parent alone decides what a signal to the whole group means.
    signals.ignore(signal.SIGINT, signal.SIGTERM)
    _keep_memory()


def _keep_memory() -> None:
    """Let this process use freed memory again instead of handing it back.

    Each scene's arrays would be new pages otherwise, which the kernel clears first: a third of the
    time of a scene.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library than GNU's
        allocator = ctypes.CDLL(None)
        allocator.mallopt(M_MMAP_MAX, 0)
        allocator.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
