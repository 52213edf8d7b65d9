"""The commands: argument parsing, messages and exit codes; the work is done by other modules."""

import logging
import os
import signal
import sys
from collections.abc import Callable

from cloudmask.errors import (
    EXIT_FAULT,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    Fault,
    InputError,
    Interrupted,
    InUse,
)


def run(command: Callable[[], None]) -> int:
    """Run `command` and return its exit code; expected errors become one line on stderr."""
    # TensorFlow greets with pages about itself; its errors still show. Set it to 0 to see all.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    _print_logs()
    try:
        command()
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
        # Of an OSError: a full disk, a vanished file, no permission; its message names the file.
        print(f"error: {error}", file=sys.stderr)
        return EXIT_FAULT
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


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
