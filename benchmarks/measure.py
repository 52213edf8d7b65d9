"""Timing two ways of the same work in turn, and what comes out of it."""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Figure:
    """One comparison.

    ours, baseline: medians in `unit`; ratio: how many times better ours is, or what `goal` is
    about; goal: the least ratio, or with `at_most` the largest; bound: what limits it.
    """

    name: str
    ours: float
    baseline: float
    unit: str
    ratio: float
    goal: float
    bound: str
    at_most: bool = False
    details: dict = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether the goal is met."""
        return self.ratio <= self.goal if self.at_most else self.ratio >= self.goal


def interleaved(
    ways: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = lambda: 0
) -> dict[str, list[float]]:
    """Seconds of each way, visited in turn so that a slow moment of the machine meets all of them.

    `before` runs untimed before each, such as emptying the page cache.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            before()
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def median(values: list[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def forget(*paths: Path) -> None:
    """Drop these files from the page cache, so that the next read comes from the disk."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def peak(command_line: Sequence, field: str) -> int:
    """Run a command; the largest value of `field` of its /proc/PID/status, in bytes.

    VmHWM: resident memory at its highest; RssAnon: memory that is not of files. (What `wait4` tells
    is no use: it counts the parent's memory, too, from before the command began.)
    """
    process = subprocess.Popen([*map(str, command_line)], stdout=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):  # it has just ended
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    largest = max(largest, int(line.split()[1]) * 1024)
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"{command_line[0]} ended with {process.returncode}")
    return largest


def command(name: str) -> Path:
    """One of our commands, as installed beside this Python."""
    return Path(sys.executable).with_name(f"cloudmask-{name}")


def train(store: Path, run: Path, *settings: str, config: Path | None = None) -> dict:
    """One training by the command, in a process of its own; returns its result."""
    command_line = ["--data", store, "--run", run, "--force"]
    if config:
        command_line += ["--config", config]
    for setting in settings:
        command_line += ["--set", setting]
    subprocess.run([command("train"), *command_line], check=True, stdout=subprocess.DEVNULL)
    return json.loads((run / "result.json").read_text())


def parser(description: str) -> argparse.ArgumentParser:
    """What every benchmark takes: --data with scenes/ and patches.h5, --out, --rounds."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of bench.py's data")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    parser.add_argument("--rounds", type=int, default=5, help="median of so many (5)")
    return parser


def arguments(description: str) -> argparse.Namespace:
    """Those of the command line."""
    return parser(description).parse_args()


def write(out: Path, figures: list[Figure]) -> None:
    """Hand the figures to bench.py."""
    rows = [asdict(figure) | {"reached": figure.reached} for figure in figures]
    out.write_text(json.dumps(rows, indent=1) + "\n")
