"""Every command with one of its inputs damaged: one clear line or a clean end, nothing else."""

import hashlib
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from fuzz import damage

from attack.contents import differences
from attack.ground import Ground, ground
from attack.launch import Running, Stage
from attack.protocol import LOST, Failure, Verdict
from attack.workloads import Workload, available


class HostileInputs:
    """A copy of the inputs with one file damaged, for a command that gets it as an argument."""

    name = "hostile inputs"
    amount = 400
    seconds = 600.0

    def unavailable(self) -> str:
        """It runs everywhere."""
        return ""

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Inputs and everything outside `work` must stay as they are."""
        copy = Ground(folder / "inputs")
        shutil.copytree(ground().folder, copy.folder, ignore=_only_inputs)
        stage = Stage(folder / "case")
        workload = rng.choice([w for w in available() if _inputs(w, copy, stage)])
        workload.setup(copy, stage.work)
        files = [file for path in _inputs(workload, copy, stage) for file in _files(path)]
        path = rng.choice(sorted(set(files)))
        verdict = Verdict(f"{workload.name}, {path.relative_to(folder)}", 1)
        verdict.what += f": {_damage(path, rng)}"
        before = _bytes(copy.folder)
        arguments = workload.arguments(copy, stage.work)
        ended = Running(workload.command, arguments, stage).end()
        verdict.what += f", ended with {ended.code}"
        verdict.failures += ended.judged() + stage.leftovers()
        changed = differences(before, _bytes(copy.folder))
        verdict.failures += [Failure(LOST, f"input: {failure.text}") for failure in changed]
        return verdict


def _only_inputs(folder: str, names: list[str]) -> list[str]:
    return [n for n in names if n.startswith(("making", "undisturbed", "need ", "references"))]


def _bytes(folder: Path) -> dict[str, str]:
    """Digests of files whose format may be damaged."""
    paths = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink()]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def _inputs(workload: Workload, copy: Ground, stage: Stage) -> list[Path]:
    """Arguments that are files or folders of the inputs, or copies of them in `work`."""
    arguments = workload.arguments(copy, stage.work)
    paths = [Path(argument) for argument in arguments if isinstance(argument, Path)]
    return [path for path in paths if _files(path) or path.is_relative_to(copy.folder)]


def _files(path: Path) -> list[Path]:
    beside = [p for p in path.parent.glob(f"{path.name}.*") if p.is_file()]
    return beside + ([path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()])


def _damage(path: Path, rng: random.Random) -> str:
    if os.access(path, os.W_OK):
        path.chmod(0o644)
    ways: list[Callable[[Path, random.Random], str]] = [_any] * 4
    if path.suffix == ".keras":
        ways += [_member, _member]
    ways.append(_special)
    return rng.choice(ways)(path, rng)


def _any(path: Path, rng: random.Random) -> str:
    """The fuzzer's ways, by the kind that is most like it."""
    kinds = {".hdf": "store", ".h5": "store", ".json": "result", ".keras": "checkpoint"}
    return damage(kinds.get(path.suffix, "config"), path, rng)


def _member(path: Path, rng: random.Random) -> str:
    """A member of a saved network with flipped bytes, or very large, or under another name."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    content = bytearray(members.pop(name))
    way = rng.choice(("flip", "bomb", "rename", "json"))
    if way == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif way == "bomb":
        content = bytearray(200 << 20)
    elif way == "rename":
        name = f"../../{name}"
    else:
        content = content.replace(rng.choice((b'"filters": 2', b"256", b"true")), b"100000000", 1)
    members[name] = bytes(content)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return f"{way} {name}"


def _special(path: Path, rng: random.Random) -> str:
    """Something else than a file under its name."""
    way = rng.choice(("pipe", "folder", "endless link", "device", "missing", "empty"))
    path.unlink()
    if way == "pipe":
        os.mkfifo(path)
    elif way == "folder":
        path.mkdir()
    elif way == "endless link":
        path.symlink_to(path)
    elif way == "device":
        path.symlink_to("/dev/zero")
    elif way == "empty":
        path.touch()
    return way
