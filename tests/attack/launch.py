"""Commands in folders of their own: started at once, watched, judged by what they say and leave."""

import contextlib
import ctypes
import importlib
import os
import pkgutil
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from support import processes

import cloudmask.overlay
from attack import shim
from attack.protocol import HANG, LEFT, TRACEBACK, Failure

SECONDS = 120  # for a command that takes a few
GRACE = 5  # seconds that children may outlive their command
MARKS = re.compile(r"Traceback \(most recent|Fatal Python error|Exception ignored|Segmentation")
# What commands import, besides: most of the time of a small one.
processes.context.set_forkserver_preload(
    [
        "tensorflow",
        "keras",
        "h5py",
        "boto3",
        "matplotlib.pyplot",
        "PIL.Image",
        "rocrate.rocrate",
        "cloudmask.evaluate.job",
        "cloudmask.evaluate.mask_job",
        "cloudmask.train.run",
        "cloudmask.patches.prepare",
        "cloudmask.overlay.build",
        "cloudmask.overlay.node_cache",
        "cloudmask.scenes.download",
        "cloudmask.report.page",
        "cloudmask.report.output",
        "cloudmask.experiments.row",
        "cloudmask.publication.submission",
        "cloudmask.publication.crate",
    ]
)
# Ctrl-C while Python still loads modules: it ends at once, and Python itself says where it was: in
# its own importing, or in a line of the command's script that comes before the call of `main`,
# among which pip's scripts import more than others.
STARTING = re.compile(
    r"(<frozen importlib|\ATraceback .*\n  File .*/cloudmask\S*\", line \d+, in <module>\n"
    r"(?! +sys\.exit\(main))[\s\S]*^KeyboardInterrupt\s*\Z",
    re.MULTILINE,
)
LINE = re.compile(r"^(error|interrupted|usage|cloudmask\S*: error)\b", re.MULTILINE)
# What a batch system or a user sends; without a handler they end a process at once.
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGKILL)


@dataclass(frozen=True)
class Stage:
    """The folder of a case: `work` for outputs, `tmp` and `home` that must stay empty."""

    folder: Path

    def __post_init__(self) -> None:
        for path in (self.work, self.tmp, self.home):
            path.mkdir(parents=True, exist_ok=True)

    @property
    def work(self) -> Path:
        """Where the command works and puts its results."""
        return self.folder / "work"

    @property
    def tmp(self) -> Path:
        """What the command takes for /tmp."""
        return self.folder / "tmp"

    @property
    def home(self) -> Path:
        """What the command takes for the user's home."""
        return self.folder / "home"

    def leftovers(self) -> list[Failure]:
        """What lies in tmp and home, but for what TensorFlow leaves when it is killed."""
        paths = [p for place in (self.tmp, self.home) for p in sorted(place.rglob("*"))]
        ours = [p for p in paths if not p.name.startswith("__autograph_generated_file")]
        return [Failure(LEFT, str(path.relative_to(self.folder))) for path in ours]


@dataclass(frozen=True)
class Start:
    """How to start a command: in which environment, with which fault, as which user."""

    environment: dict[str, str] = field(default_factory=dict)
    fault: shim.State | None = None
    user: int | None = None
    stdin: Path | None = None
    forked: bool = True


class Running:
    """A running command in a session of its own."""

    def __init__(self, name: str, arguments: list, stage: Stage, start: Start | None = None):
        start = start or Start()
        self.name, self._log = name, stage.folder / "log"
        environment = {
            "TMPDIR": str(stage.tmp),
            "HOME": str(stage.home),
            "CLOUDMASK_GIT_COMMIT": "0123abc",
            "CUDA_VISIBLE_DEVICES": "",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            shim.VARIABLE: str(start.fault.path) if start.fault else "",
            **start.environment,
        }
        enter = partial(_enter, environment, str(stage.work), start.user, start.stdin)
        if start.forked:
            command = processes.Command(name, arguments, self._log, before=enter)
            self.pid, self._wait = command.pid, command.wait
        else:
            self.pid, self._wait = self._spawn(name, arguments, environment, stage.work)

    def _spawn(self, name: str, arguments: list, environment: dict, folder: Path):
        with (
            self._log.with_suffix(".out").open("w") as out,
            self._log.with_suffix(".err").open("w") as errors,
        ):
            process = subprocess.Popen(
                [Path(sys.executable).with_name(name), *map(str, arguments)],
                cwd=folder,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )

        def wait(seconds: float | None) -> int | None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(seconds)
            return None

        return process.pid, wait

    def send(self, number: int, group: bool = False) -> bool:
        """Send a signal, with `group` also to the command's children; whether it still ran."""
        try:
            if group and os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float) -> int | None:
        """Exit code, negative for a signal; None if it still runs after `seconds`."""
        return self._wait(seconds)

    def end(self, seconds: float = SECONDS) -> "Ended":
        """Wait for the end, or make one; then for that of the children."""
        began = time.monotonic()
        code = self.wait(seconds)
        failures = []
        if code is None:
            failures.append(
                Failure(HANG, f"{self.name} runs after {seconds:.0f} s\n{self._stack()}")
            )
            self.send(signal.SIGKILL)
            self.wait(60)
        left = _session(self.pid)
        until = time.monotonic() + GRACE
        while left and time.monotonic() < until:
            time.sleep(0.05)
            left = _session(self.pid)
        for process, line in left.items():
            failures.append(Failure(LEFT, f"process {line}"))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return Ended(self.name, code, self.errors, time.monotonic() - began, failures)

    def _stack(self) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/wchan").read_text() + " " + self.errors[-500:]
        return ""

    @property
    def output(self) -> str:
        """Standard output so far."""
        return _text(self._log.with_suffix(".out"))

    @property
    def errors(self) -> str:
        """Standard error so far."""
        return _text(self._log.with_suffix(".err"))


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    name: str
    code: int | None
    errors: str
    seconds: float
    failures: list[Failure]

    def judged(self, *signals: int) -> list[Failure]:
        """What is wrong with the end of a command that got these signals, or met a fault."""
        failures = list(self.failures)
        told = f"{self.name} ended with {self.code}: {self.errors[-1500:]}"
        if signal.SIGINT in signals and STARTING.search(self.errors):
            pass
        elif MARKS.search(self.errors):
            failures.append(Failure(TRACEBACK, told))
        elif self.code is None or self.code == 0 or -self.code in signals:
            pass
        elif self.code not in (1, 2, 75, 128 + signal.SIGINT):
            failures.append(Failure(TRACEBACK, told))
        elif len(LINE.findall(self.errors)) != 1:
            failures.append(Failure(TRACEBACK, f"not one clear line: {told}"))
        return failures


def run(name: str, arguments: list, stage: Stage, start: Start | None = None) -> Ended:
    """A command from its beginning to its end."""
    return Running(name, arguments, stage, start).end()


@contextlib.contextmanager
def mounts_watched(folder: Path, failures: list[Failure]) -> Iterator[None]:
    """Add a failure for each mount below a folder that the block leaves."""
    yield
    left = [m for m in Path("/proc/self/mounts").read_text().splitlines() if f" {folder}/" in m]
    failures += [Failure(LEFT, f"mount {line}") for line in left]


def _enter(environment: dict[str, str], folder: str, user: int | None, stdin: Path | None) -> None:
    """In the forked child: what a shell would have set up."""
    os.setsid()
    os.environ.update(environment)
    tempfile.tempdir = None
    os.chdir(folder)
    for number in ENDING[:-1]:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if stdin:
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        sys.stdin = os.fdopen(0, closefd=False)
    if environment[shim.VARIABLE]:
        ctypes.CDLL(None).shim_arm(os.fsencode(environment[shim.VARIABLE]))
    if user is not None:
        # The interpreter's own files may be out of another user's reach.
        for module in pkgutil.walk_packages(cloudmask.overlay.__path__, "cloudmask.overlay."):
            importlib.import_module(module.name)
        importlib.import_module("cloudmask.commands.stage")
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)


def _session(leader: int) -> dict[int, str]:
    """Living processes of the session that `leader` began, itself left out."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
            process = int(path.parent.name)
            if int(fields[3]) == leader and fields[0] not in "ZX" and process != leader:
                line = (path.parent / "cmdline").read_bytes().replace(b"\0", b" ")
                found[process] = f"{process} {line[:200].decode(errors='replace')}"
    return found


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
