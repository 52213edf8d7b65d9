"""Disks that have a little less, or a little more, than a command needs."""

import fcntl
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attack.contents import contents, differences
from attack.ground import ground
from attack.launch import Stage, mounts_watched
from attack.protocol import Verdict
from attack.workloads import Workload, available

# The quick ones first: the least that is enough takes a dozen runs to find.
NAMES = ("prepare", "extract", "share", "overlay", "synth", "data", "report", "evaluate", "train")
PAGE = 4096
AROUND = 64 << 10  # bytes below and above the need
STEPS = range(-AROUND, AROUND + PAGE, PAGE)
PLENTY = 256 << 20


class FullDisks:
    """A memory file system of every size around the least that is enough."""

    name = "full disks"
    amount = len(STEPS) * len(NAMES)
    seconds = 1800.0

    def unavailable(self) -> str:
        """Mounting takes root."""
        return "" if os.geteuid() == 0 and shutil.which("mount") else "mounting takes root"

    def run(self, number: int, rng: random.Random, folder: Path) -> Verdict:
        """Cases go through all steps with the first command, spread out, then with the next."""
        workloads = sorted((w for w in available() if w.name in NAMES), key=_order)
        workload = workloads[number // len(STEPS) % len(workloads)]
        step = STEPS[number * 14 % len(STEPS)]  # 14 and 33 share no factor
        size = max(PAGE, _needed(workload, folder) + step)
        verdict = Verdict(f"{workload.name} on {size} bytes, {step:+d}", 1)
        with mounts_watched(folder, verdict.failures):
            stage = Stage(folder / "case")
            with _disk(stage.work, size):
                workload.setup_in(stage)
                ended = workload.start(stage).end()
                verdict.what += f", ended with {ended.code}"
                verdict.failures += ended.judged()
                if ended.code == 0:
                    verdict.failures += differences(workload.expected, contents(stage.work))
                else:
                    _mount(stage.work, f"remount,size={PLENTY}")
                    verdict.failures += workload.finish(stage)
        return verdict


def _order(workload: Workload) -> int:
    return NAMES.index(workload.name)


def _needed(workload: Workload, folder: Path) -> int:
    """The least size on which the command succeeds, in bytes; searched for once."""
    memory = ground().folder / f"need {workload.name}"
    with memory.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if text := file.read():
            return int(text)
        high = 64 * PAGE
        while not _succeeds(workload, high, folder):
            high *= 2
            if high > PLENTY:
                raise RuntimeError(f"{workload.name} does not succeed on {high} bytes")
        low = high // 2 if high > 64 * PAGE else 0
        while high - low > PAGE:
            middle = (low + high) // 2 // PAGE * PAGE
            if _succeeds(workload, middle, folder):
                high = middle
            else:
                low = middle
        file.write(str(high))
    return high


def _succeeds(workload: Workload, size: int, folder: Path) -> bool:
    stage = Stage(folder / "search")
    try:
        with _disk(stage.work, size):
            workload.setup_in(stage)
            done = workload.start(stage).end().code == 0
            return done and contents(stage.work) == workload.expected
    finally:
        shutil.rmtree(stage.folder)


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[None]:
    _mount(folder, f"size={size},mode=755")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
