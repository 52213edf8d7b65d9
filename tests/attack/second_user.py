"""Another user of the node, who prepares and swaps what `cloudmask-stage` finds on its disk."""

import contextlib
import fcntl
import multiprocessing
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from attack.contents import contents, differences
from attack.ground import ground
from attack.launch import Running, Stage, Start
from attack.protocol import LEFT, LOST, WRONG, Failure, Verdict

VICTIM, ENEMY = 20_001, 20_002
SECONDS = 60  # for a command
OURS = f"cloudmask-{VICTIM}"


class SecondUser:
    """The victim shares an overlay and cleans up; its runs and its data must stay what they are."""

    name = "second user"
    amount = 150
    seconds = 400.0

    def unavailable(self) -> str:
        """Two users take root; the files of this checkout must be readable by both."""
        if os.geteuid() != 0:
            return "becoming two users takes root"
        return "" if shutil.which("mke2fs", path="/usr/sbin:/sbin") else "no e2fsprogs"

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """One way of the enemy, while the victim works."""
        trap, sticky = rng.choice(TRAPS), rng.random() < 0.7
        verdict = Verdict(f"{trap.__name__[1:]}, {'sticky' if sticky else 'open to all'}", 1)
        stage = Stage(folder)
        node, precious = stage.work / "node", stage.work / "precious"
        node.mkdir()
        node.chmod(0o1777 if sticky else 0o777)
        shutil.copytree(ground().run, precious)
        for path in (stage.home, stage.tmp, precious, *precious.rglob("*")):
            os.chown(path, VICTIM, VICTIM)
        before = contents(precious)
        with _enemy(trap, node, precious, rng.randrange(1 << 30)):
            verdict.failures += _share(stage, node, sticky)
            clean = Running("cloudmask-stage", ["clean", "--local", node], stage, _victim())
            verdict.failures += clean.end(SECONDS).judged()
        changed = differences(before, contents(precious))
        verdict.failures += [Failure(LOST, f"runs: {failure.text}") for failure in changed]
        if sticky:
            left = [p for p in node.rglob("*") if p.lstat().st_uid == VICTIM]
            verdict.failures += [Failure(LEFT, str(p.relative_to(node))) for p in left]
        return verdict


def _victim(stdin: Path | None = None) -> Start:
    return Start(user=VICTIM, stdin=stdin)


def _share(stage: Stage, node: Path, sticky: bool) -> list[Failure]:
    pipe = stage.folder / "stdin"
    os.mkfifo(pipe)
    opened = os.open(pipe, os.O_RDWR)
    arguments = ["share", ground().overlay, "--local", node]
    command = Running("cloudmask-stage", arguments, stage, _victim(pipe))
    until = time.monotonic() + SECONDS
    while command.output.count("\n") < 3 and command.wait(0.02) is None:
        if time.monotonic() > until:
            break
    failures = []
    lines = command.output.splitlines()
    # Where everybody may rename everything, a path says nothing about what is there later.
    if sticky and len(lines) >= 3 and lines[0]:
        copy = Path(lines[0]) / "patches.h5"
        if copy.read_bytes() != ground().store.read_bytes():
            failures.append(Failure(WRONG, f"{copy} is not the overlay's"))
    os.close(opened)
    ended = command.end(SECONDS)
    return failures + ended.judged()


@contextlib.contextmanager
def _enemy(trap: Callable, node: Path, precious: Path, seed: int) -> Iterator[None]:
    """The trap is set before the victim comes, then again and again."""
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_harass, args=(trap, node, precious, seed, ready))
    process.start()
    ready.wait(20)
    try:
        yield
    finally:
        process.kill()
        process.join()


def _harass(trap: Callable, node: Path, precious: Path, seed: int, ready) -> None:
    os.setgroups([])
    os.setgid(ENEMY)
    os.setuid(ENEMY)
    os.umask(0)
    rng = random.Random(seed)
    while True:
        for path in {node / OURS, *node.glob(f"{OURS}*")}:
            with contextlib.suppress(OSError):
                trap(path, precious)
        ready.set()
        time.sleep(rng.choice((0, 0.001, 0.02)))


def _link(path: Path, precious: Path) -> None:
    path.symlink_to(precious)


def _foreign_folder_with_leases_elsewhere(path: Path, precious: Path) -> None:
    path.mkdir()
    for name in ("leases", "holders", "0" * 64):
        (path / name).symlink_to(precious)


def _pipe_as_lock(path: Path, precious: Path) -> None:
    path.mkdir()
    os.mkfifo(path / ".lock")


def _pipe_as_folder(path: Path, precious: Path) -> None:
    os.mkfifo(path)


def _lock_that_links(path: Path, precious: Path) -> None:
    path.mkdir()
    (path / ".lock").symlink_to(precious / "result.json")


_HELD = []


def _held_lock(path: Path, precious: Path) -> None:
    """Whatever can be opened is locked and stays so."""
    if not path.exists():
        path.mkdir()
        (path / ".lock").touch()
    for place in (path, path / ".lock"):
        with contextlib.suppress(OSError):
            file = place.open("rb") if place.is_file() else None
            descriptor = file.fileno() if file else os.open(place, os.O_RDONLY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _HELD.append(file or descriptor)


def _placed_copy(path: Path, precious: Path) -> None:
    """A copy of the right size with other bytes."""
    path.mkdir()
    identity = _identity()
    data = path / identity / "data"
    data.mkdir(parents=True)
    (path / "leases").mkdir()
    (data / "patches.h5").write_bytes(bytes(ground().store.stat().st_size))


def _swap(path: Path, precious: Path) -> None:
    """Folder, link, folder, as fast as can be; also over what the victim has made, if allowed."""
    aside = path.with_name(f"aside-{time.time_ns()}")
    with contextlib.suppress(OSError):
        path.rename(aside)
    with contextlib.suppress(OSError):
        path.symlink_to(precious)
    with contextlib.suppress(OSError):
        path.unlink()
    with contextlib.suppress(OSError):
        path.mkdir()
    with contextlib.suppress(OSError):
        path.rmdir()


def _swap_inside(path: Path, precious: Path) -> None:
    """The same with the folders in it, where they are the enemy's or open."""
    for inner in list(path.iterdir()) if path.is_dir() else []:
        _swap(inner, precious)


def _identity() -> str:
    import json

    return json.loads(Path(f"{ground().overlay}.json").read_text())["id"]


TRAPS = (
    _link,
    _foreign_folder_with_leases_elsewhere,
    _pipe_as_lock,
    _pipe_as_folder,
    _lock_that_links,
    _held_lock,
    _placed_copy,
    _swap,
    _swap_inside,
)
