"""The commands: argument parsing, messages and exit codes; the work is done by other modules."""

import errno
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence

from cloudmask.errors import (
    EXIT_FAULT,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    Fault,
    InputError,
    Interrupted,
    InUse,
)
from cloudmask.system import signals
from cloudmask.system.distribution import missing_tensorflow
from cloudmask.system.memory import require_address_space
from cloudmask.system.text import plural

LEAST_ADDRESS_SPACE = 0.5  # GiB, with which scenes of the published size are prepared

STOP_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
STOPPED = "stop requested; nothing is lost, the same command continues"
LOWER = "lower --workers, --memory-limit or training.batch_size, or ask for more"
_NOT_LOADED = ("failed to map segment", "annot allocate memory")


def run(command: Callable[[], None]) -> int:
    """Run `command` and return its exit code; expected errors become one line on stderr.

    The command line is parsed in it as well: Ctrl-C at that time is an interruption like any other,
    from the first line to the last.
    """

    def prepared() -> int:
        _prepare_process()
        return _run(command)

    return interruptible(prepared)


def interruptible(call: Callable[[], int]) -> int:
    """Return what `call` returns; after Ctrl-C a line says so, with its exit code."""
    try:
        return call()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


def _unmasked(command: Callable[[], None]) -> None:
    """Run it; an interruption stays one where a library makes another error of it."""
    # Whoever started it may have it ignore some of them, as nohup does.
    heeded = [n for n in STOP_SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    with (
        signals.interrupted_by(*heeded, message=STOPPED) as stop,
        signals.interrupts_noted() as interrupt,
    ):
        try:
            command()
        except (KeyboardInterrupt, Interrupted, SystemExit):
            raise
        except BaseException as error:
            _raise_cause(error)
            # A module that is being loaded loses what a signal raises, and fails in its own way:
            # it cannot be imported, or, written in Rust, it panics, which is no Exception.
            if isinstance(error, ImportError) or not isinstance(error, Exception):
                if interrupt.requested:
                    raise KeyboardInterrupt from None
                if stop.requested:
                    raise Interrupted(STOPPED) from None
            raise


def _raise_cause(error: BaseException) -> None:
    """Raise the interruption during whose cleaning up the error came, if there was one."""
    met: BaseException | None = error
    # What is raised "from" something else is meant so.
    while met and not met.__suppress_context__:
        met = met.__context__
        if isinstance(met, (KeyboardInterrupt, Interrupted)):
            raise met from None


def _prepare_process() -> None:
    # TensorFlow greets with pages about itself; its errors still show. Set it to 0 to see all.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Keras takes settings that change results from the home directory and, where there is none, as
    # in a container, from /tmp, where anybody may have put them. Below a file there are none.
    os.environ.setdefault("KERAS_HOME", os.devnull)
    # A name that the terminal's encoding does not have is no reason to end.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _print_logs()
    # NumPy's library of linear algebra, which is hardly used here, takes memory for each thread,
    # and sends the process a SIGINT where it gets none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _run(command: Callable[[], None]) -> int:
    try:
        require_address_space(LEAST_ADDRESS_SPACE)
        _unmasked(command)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        # A job that Slurm has queued again meets itself: a node that it lost may live on for a
        # while, and file servers keep the locks of dead ones. Trying again later helps.
        again = isinstance(error, InUse) and os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
        return EXIT_INTERRUPTED if again else EXIT_INPUT
    except Interrupted as error:
        print(f"interrupted: {error}", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAULT
    except (PermissionError, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_INPUT
    except (Fault, OSError) as error:
        if reason := _exhausted(error):
            error = Fault(reason)
        # Of an OSError: a full disk, a vanished file, no permission; its message names the file.
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAULT
    except Exception as error:
        if not (reason := _exhausted(error)):
            raise
        print(f"error: {reason}", file=sys.stderr)
        return EXIT_FAULT
    return 0


def _exhausted(error: Exception) -> str:
    """What to do about an error that means too little memory or too few processes, else ""."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return f"out of memory; {LOWER}"
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return f"out of memory; {LOWER}"
    # Python and the dynamic linker tell of these limits in words only.
    if isinstance(error, ImportError) and any(words in text for words in _NOT_LOADED):
        return f"out of memory while loading a library ({text}); {LOWER}"
    if isinstance(error, OSError) and error.errno == errno.EAGAIN:
        return f"no more processes or threads can be started (memory, ulimit -u); {LOWER}"
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return f"no more processes or threads can be started (memory, ulimit -u); {LOWER}"
    return ""


class _PrintHandler(logging.Handler):
    """Prints, and raises what goes wrong: a closed pipe or a full disk ends the command."""

    def emit(self, record: logging.LogRecord) -> None:
        # Standard output may be read by a program, for which a warning is none of its lines.
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        print(self.format(record), file=stream, flush=True)


def _print_logs() -> None:
    """Show what the package logs as plain lines, each at once: a log file is read as it grows."""
    logger = logging.getLogger("cloudmask")
    if not logger.handlers:
        logger.addHandler(_PrintHandler())
        logger.setLevel(logging.INFO)
        logger.propagate = False
    # Without a home, as in a container, Matplotlib reports at length where it keeps its list of
    # fonts: in a folder of its own, which it removes at the end.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


def require_tensorflow() -> None:
    """Raise InputError, with the command that installs it, if TensorFlow is not installed."""
    if missing := missing_tensorflow():
        raise InputError(missing)


def print_left_out(lines: Sequence[str]) -> None:
    """Print which scenes could not be used, if there are any, and why."""
    if not lines:
        return
    print(f"left out {plural(len(lines), 'scene')}:")
    for line in lines:
        print(f"  {line}")
