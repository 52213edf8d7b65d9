"""What can end a command, and the exit codes by which batch scripts distinguish it."""

EXIT_FAULT = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: the same command continues the work


class InputError(Exception):
    """The user's command line, configuration or data cannot be used (exit code 2).

    The message is one line that names the file or key, what was found and what was expected.
    """


class InUse(InputError):
    """Another living process works on the same thing."""


class SceneError(InputError):
    """A scene cannot be used; `--skip-bad` leaves such scenes out."""


class NotAScene(SceneError):
    """A file that looks like a scene is something else, which is no fault of the file."""


class Interrupted(BaseException):
    """The work ended early, with its state saved; the same command continues it (exit code 75).

    A signal raises it anywhere, also within a library that goes on after any Exception.
    """


class Fault(Exception):
    """The work failed through no fault of the input (exit code 1); the message is one line."""
