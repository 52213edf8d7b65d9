"""Hands out cases to a few processes, keeps count, and prints and writes what was found."""

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from attack import ground, making, shim
from attack.collisions import Collisions
from attack.faults import Faults
from attack.full_disks import FullDisks
from attack.hostile_files import HostileFiles
from attack.hostile_inputs import HostileInputs
from attack.protocol import HANG, KINDS, TRACEBACK, Attack, Failure, Verdict
from attack.second_user import SecondUser
from attack.signals import Signals

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Signals(), Faults(), FullDisks(), SecondUser(), HostileFiles(),
        HostileInputs(), Collisions(),
    )
}  # fmt: skip

context = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Options:
    """How much of what.

    amount: 1 for an hour's amount. minutes: no new case begins after these, which run from when the
    inputs are made. case: this one alone. inputs: a folder that keeps the inputs for the next time.
    """

    amount: float = 1.0
    minutes: float = float("inf")
    attacks: tuple[str, ...] = tuple(ATTACKS)
    seed: int = 0
    case: int | None = None
    processes: int = 2
    inputs: Path | None = None


@dataclass
class Tally:
    """What one attack has done so far."""

    tried: int = 0
    fired: int = 0
    kinds: Counter = field(default_factory=Counter)
    skipped: str = ""


class Campaign:
    """The cases of all attacks, drawn in turn so that all come to their share together."""

    def __init__(self, options: Options):
        self._options = options
        self._until = float("inf")
        self._lock = threading.Lock()
        self._next = dict.fromkeys(options.attacks, options.case or 0)
        self.tallies = {name: Tally() for name in options.attacks}
        self.failures: list[dict] = []
        for name, tally in self.tallies.items():
            tally.skipped = ATTACKS[name].unavailable()

    def begin(self) -> None:
        """The time runs from now on."""
        self._until = time.monotonic() + 60 * self._options.minutes

    def draw(self) -> tuple[str, int] | None:
        """The next case; None if all have had their share, or the time is over."""
        with self._lock:
            left = {n: self._share(n) for n, t in self.tallies.items() if not t.skipped}
            left = {name: share for name, share in left.items() if share < 1}
            if not left or time.monotonic() > self._until:
                return None
            name = min(left, key=left.__getitem__)
            number = self._next[name]
            self._next[name] += 1
            return name, number

    def _share(self, name: str) -> float:
        """How much of its amount an attack has done, with what is under way."""
        if self._options.case is not None:
            return float(self._next[name] > self._options.case)
        tally = self.tallies[name]
        under_way = self._next[name] - tally.tried
        # At least a little: an attack that strikes nothing comes to its end, too.
        mean = max(tally.fired / tally.tried, 0.2) if tally.tried else 1.0
        done = max(tally.fired, 0.2 * tally.tried) + mean * under_way
        return done / (ATTACKS[name].amount * self._options.amount)

    def add(self, name: str, number: int, verdict: Verdict) -> None:
        """Count a case, and print its failures."""
        with self._lock:
            tally = self.tallies[name]
            tally.tried += 1
            tally.fired += verdict.fired
            for failure in verdict.failures:
                tally.kinds[failure.kind] += 1
                again = f"--attack {name!r} --seed {self._options.seed} --case {number}"
                print(f"FAILED {failure.kind}: {verdict.what}\n  {failure.text}\n  again: {again}",
                      flush=True)  # fmt: skip
                self.failures.append(
                    {"attack": name, "case": number, "seed": self._options.seed,
                     "kind": failure.kind, "what": verdict.what, "text": failure.text}
                )  # fmt: skip

    def table(self) -> list[str]:
        """A line for each attack."""
        lines = [f"{'attack':20} {'tried':>6} {'fired':>6}  " + "  ".join(KINDS)]
        for name, tally in self.tallies.items():
            kinds = "  ".join(f"{tally.kinds[kind]:{len(kind)}}" for kind in KINDS)
            tail = f"  skipped: {tally.skipped}" if tally.skipped else ""
            lines.append(f"{name:20} {tally.tried:6} {tally.fired:6}  {kinds}{tail}")
        return lines

    def as_json(self) -> dict:
        """All of it."""
        tallies = {
            name: {"tried": t.tried, "fired": t.fired, "skipped": t.skipped,
                   "failures": {kind: t.kinds[kind] for kind in KINDS}}
            for name, t in self.tallies.items()
        }  # fmt: skip
        return {"seed": self._options.seed, "attacks": tallies, "failures": self.failures}


def run(options: Options) -> Campaign:
    """Attack; prints a plan, progress and failures as plain lines."""
    campaign = Campaign(options)
    began = time.monotonic()
    with _environment(options.inputs), contextlib.ExitStack() as open_workers:
        workers = [open_workers.enter_context(_Worker())]
        trouble = workers[0].ask(("build", 2 if options.amount >= 1 else 1), 1800)
        print(f"inputs and undisturbed runs: {time.monotonic() - began:.0f} s", flush=True)
        for line in trouble:
            print(f"differs without any disturbance: {line}", flush=True)
        while len(workers) < options.processes:
            workers.append(open_workers.enter_context(_Worker()))
        threads = [
            threading.Thread(target=_drive, args=(worker, campaign, options.seed), daemon=True)
            for worker in workers
        ]
        campaign.begin()
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(30)
            done = ", ".join(f"{n} {t.fired}" for n, t in campaign.tallies.items())
            print(f"{time.monotonic() - began:6.0f} s: {done}", flush=True)
    return campaign


@contextlib.contextmanager
def _environment(inputs: Path | None) -> Iterator[None]:
    """The folder of everything, the shim and the S3 server, told to workers by the environment."""
    folder = Path(tempfile.mkdtemp(prefix="cloudmask-attack-"))
    folder.chmod(0o755)  # the second user passes through
    before = dict(os.environ)
    server = None
    try:
        inputs = (inputs or folder / "ground").absolute()
        inputs.mkdir(parents=True, exist_ok=True)
        os.environ[ground.VARIABLE] = str(inputs)
        os.environ[ground.CASES] = str(folder)
        os.environ["MPLCONFIGDIR"] = os.environ["KERAS_HOME"] = str(folder / "settings")
        os.environ.update({"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"})
        server = _serve()
        if shim.compiler():
            os.environ["LD_PRELOAD"] = str(shim.build(folder))
        yield
    finally:
        if server:
            server.kill()
            server.wait()
        os.environ.clear()
        os.environ.update(before)
        _end_processes_of(folder)
        _unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end_processes_of(folder: Path) -> None:
    """Commands have sessions of their own, and outlive an attack that is cut off."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if int(path.parent.name) != os.getpid() and os.fsencode(folder) in path.read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)


def _unmount_below(folder: Path) -> None:
    """What is mounted below the folder, by a case that was cut off."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in mounts:
        if mount.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", mount], check=False)


def _serve() -> subprocess.Popen | None:
    """An S3 server on loopback, if the tests' one is installed."""
    try:
        import boto3  # noqa: F401
        import moto.server  # noqa: F401
    except ImportError:
        return None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL)  # fmt: skip
    for _ in range(300):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            break
        time.sleep(0.1)
    os.environ[ground.S3] = f"http://127.0.0.1:{port}"
    return server


class _Worker:
    """A process that runs cases one after the other, with a fork server of its own."""

    def __init__(self) -> None:
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other,))
        self._process.start()
        other.close()

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        self._process.kill()
        self._process.join()

    def ask(self, task: object, seconds: float):
        """The answer to a task; after TimeoutError or EOFError the process is a new one."""
        try:
            self._pipe.send(task)
            if not self._pipe.poll(seconds):
                raise TimeoutError
            answer = self._pipe.recv()
        except (TimeoutError, EOFError, ConnectionError):
            if self._closed:
                sys.exit()  # this thread, quietly: everything ends
            self._process.kill()
            self._process.join()
            self._start()
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer


def _work(pipe) -> None:
    # What libraries print about themselves; failures come back through the pipe.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(making.build(task[1]) if task[0] == "build" else _case(*task))
        except Exception as error:
            pipe.send(error)


def _case(name: str, seed: int, number: int) -> Verdict:
    folder = Path(tempfile.mkdtemp(dir=os.environ[ground.CASES]))
    folder.chmod(0o755)
    try:
        rng = random.Random(f"{seed} {name} {number}")
        return ATTACKS[name].run(number, rng, folder)
    except Exception:
        # A fault of the attack itself.
        return Verdict("attack", 0, [Failure(TRACEBACK, traceback.format_exc())])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _drive(worker: _Worker, campaign: Campaign, seed: int) -> None:
    while (drawn := campaign.draw()) is not None:
        name, number = drawn
        try:
            verdict = worker.ask((name, seed, number), ATTACKS[name].seconds)
        except TimeoutError:
            verdict = Verdict("a case", 1, [Failure(HANG, "does not end")])
        except (EOFError, ConnectionError):
            verdict = Verdict("a case", 1, [Failure(TRACEBACK, "the attacking process died")])
        campaign.add(name, number, verdict)


def write(campaign: Campaign, path: Path) -> None:
    """The tallies and failures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(campaign.as_json(), indent=1) + "\n")
