"""Commands in processes that start at once: TensorFlow is imported once, then forked."""

import contextlib
import functools
import multiprocessing
import os
import random
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tensorflow", "keras", "h5py", "cloudmask.evaluate.job"])


class Command:
    """A running command; output goes to files beside `log`.

    kill_at: the rename at which it dies. before: called in its process before it begins.
    """

    def __init__(
        self,
        name: str,
        arguments: list,
        log: Path,
        kill_at: int | None = None,
        before: Callable[[], None] | None = None,
    ):
        self._log = log
        if kill_at is not None:
            before = functools.partial(_kill_at_rename, kill_at)
        self._process = context.Process(
            target=_main, args=(name, [str(a) for a in arguments], str(log), before)
        )
        self._process.start()
        self.pid = self._process.pid

    def send(self, number: int) -> None:
        """Send a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float | None = None) -> int | None:
        """Exit code, negative for a signal; None if it still runs after `seconds`."""
        self._process.join(seconds)
        return self._process.exitcode

    @property
    def output(self) -> str:
        """Standard output so far."""
        return self._log.with_suffix(".out").read_text()

    @property
    def errors(self) -> str:
        """Standard error so far."""
        return self._log.with_suffix(".err").read_text()


def run(name: str, arguments: list, log: Path) -> Command:
    """Run a command to its end, at most ten minutes."""
    command = Command(name, arguments, log)
    code = command.wait(600)
    assert code is not None, f"{name} hangs: {command.errors}"
    return command


def free_ports(count):
    """Ports of loopback that nobody listens on at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _main(name: str, arguments: list[str], log: str, before: Callable[[], None] | None) -> None:
    import importlib

    for stream, suffix in ((sys.stdout, ".out"), (sys.stderr, ".err")):
        stream.flush()
        file = os.open(Path(log).with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, stream.fileno())
    # The fork server's children ignore what a terminal's user or a batch system sends.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if before:
        before()
    sys.argv = [name, *arguments]
    module = {"cloudmask-eval": "evaluate", "cloudmask": "umbrella"}.get(
        name, name.removeprefix("cloudmask-").replace("-", "_")
    )
    code = importlib.import_module(f"cloudmask.commands.{module}").main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _kill_at_rename(count: int) -> None:
    """Die by SIGKILL just before or just after the rename of that number."""
    replace = Path.replace
    left = [count]

    def deadly(path, target):
        left[0] -= 1
        before = random.Random(count).random() < 0.5
        if not left[0] and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = replace(path, target)
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    Path.replace = deadly
