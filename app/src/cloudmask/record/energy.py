"""Joules of GPUs, CPUs and nodes, from counters that start anew and from power that is sampled.

Each source answers `read` with what it knows at a moment, and says by its name how it was found.
SOURCES lists those of the host: the processors' own counters (RAPL), the board's controller (IPMI)
and Slurm's energy plug-in. A source that gives nothing leaves a note; nothing is estimated.
"""

import contextlib
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

COUNTER, INTEGRATED = "energy counter", "power integrated"  # after the name of a source
RAPL = "rapl"
CPU, NODE = "CPU", "node"  # what a source measures

POWERCAP = Path("/sys/class/powercap")  # the kernel's power capping interface, for AMD as well
# Where a job writes what the node's programs answer, since a container has none of them: the
# beginning of the names (slurm/lib/power.sh).
ANSWERS = "CLOUDMASK_NODE_POWER"
OLDEST_ANSWER = 120.0  # seconds: four times as long as the job takes from one to the next
PROGRAM_SECONDS = 5.0  # a controller that hangs must not hold the samples up


class NoReading(Exception):
    """A source that cannot be read, or that does not know; the text says why."""


@dataclass(frozen=True)
class Power:
    """What a source knows: power (W) at this moment, energy (J) since any moment in the past."""

    watts: float | None = None
    joules: float | None = None


class EnergySource(Protocol):
    """Something that measures the host: `measures` is CPU or NODE."""

    name: str
    measures: str

    def read(self) -> Power:
        """What it knows now; raises NoReading."""


class _Counter:
    """Growth of a counter since its first reading; `span` is where it wraps to 0, 0 if unknown."""

    def __init__(self, span: float = 0.0) -> None:
        self._span = span
        self._last: float | None = None
        self.total = 0.0

    def add(self, value: float) -> None:
        step = 0.0 if self._last is None else value - self._last
        if step < 0:
            # Of a counter that was reset, with its driver, what it has counted since is known.
            step = step + self._span if self._span else value
        self.total += step
        self._last = value


class MeasuredEnergy:
    """Joules of one device: by its counter where it has one, else by the trapezoids of its power.

    name: of the source, which with the way it was found makes `source`.
    """

    def __init__(self, name: str) -> None:
        self._counts, self._integrates = f"{name} {COUNTER}", f"{name} {INTEGRATED}"
        self._counter = _Counter()
        self._last: tuple[float, float] | None = None  # seconds, watts
        self.joules: float | None = None
        self.source: str | None = None

    def add(self, seconds: float, watts: float | None, counted: float | None) -> None:
        """Add a sample: its time (s), power (W) and counter (J), None where not known."""
        if self.source is None and counted is not None:
            self.source = self._counts
        elif self.source is None and watts is not None:
            self.source = self._integrates
        if self.source == self._counts and counted is not None:
            self._counter.add(counted)
            self.joules = self._counter.total
        elif self.source == self._integrates and watts is not None:
            before, power = self._last or (seconds, watts)
            self.joules = (self.joules or 0.0) + (seconds - before) * (power + watts) / 2
            self._last = (seconds, watts)


class Rapl:
    """The CPU packages, since the first reading; without the memory beside them."""

    name, measures = RAPL, CPU

    def __init__(self) -> None:
        self._packages: list[tuple[Path, _Counter]] = []

    def read(self) -> Power:
        """The counters' sum; NoReading if one of them cannot be read, since a part is no sum."""
        try:
            self._packages = self._packages or _packages()
            for path, counter in self._packages:
                counter.add(int(path.read_text()))
        except PermissionError as error:
            # Since 2020 the counters are root's alone on most systems (CVE-2020-8694).
            raise NoReading(f"{error}; root can give the right to read it") from None
        except (OSError, ValueError) as error:
            raise NoReading(str(error)) from None
        if not self._packages:
            raise NoReading(f"no package under {POWERCAP}")
        return Power(joules=sum(counter.total for _, counter in self._packages) / 1e6)


def _packages() -> list[tuple[Path, _Counter]]:
    """The counter of each package, in microjoules, and where it stands."""
    packages = []
    # "intel-rapl:0" is a package; "intel-rapl:0:0" is a part that it counts already.
    for zone in sorted(POWERCAP.glob("intel-rapl:*")):
        if (zone / "name").read_text().startswith("package"):
            span = int((zone / "max_energy_range_uj").read_text())
            packages.append((zone / "energy_uj", _Counter(span)))
    return packages


class Ipmi:
    """The node's power by the controller of its board; few systems let a user ask for it."""

    name, measures = "ipmi", NODE

    def read(self) -> Power:
        """Power of the whole node."""
        answer = _answer(self.name, ["ipmitool", "dcmi", "power", "reading"])
        found = re.search(r"Instantaneous power reading:\s+(\d+) Watts", answer)
        if not found or not int(found[1]):
            raise NoReading("ipmitool dcmi power reading: no power")
        return Power(watts=float(found[1]))


class Slurm:
    """The node's power and energy by the plug-in that the cluster's Slurm has for it, if any."""

    name, measures = "slurm", NODE

    def read(self) -> Power:
        """Of the whole node; the plug-in takes samples of its own, some tens of seconds apart."""
        node = os.environ.get("SLURMD_NODENAME") or platform.node().partition(".")[0]
        answer = _answer(self.name, ["scontrol", "--oneliner", "show", "node", node])
        found = dict(re.findall(r"\b(CurrentWatts|ConsumedJoules)=(\d+)\b", answer))
        # Without a plug-in they are 0, or "n/s" in newer versions.
        values = {key: float(value) for key, value in found.items() if int(value)}
        if not values:
            raise NoReading("scontrol show node: neither CurrentWatts nor ConsumedJoules")
        return Power(values.get("CurrentWatts"), values.get("ConsumedJoules"))


SOURCES: Sequence[Callable[[], EnergySource]] = (Rapl, Ipmi, Slurm)


def open_source(measures: str, notes: list[str]) -> EnergySource | None:
    """The first source of SOURCES for CPU or NODE that gives something; to `notes` goes why not."""
    for make in SOURCES:
        source = make()
        if source.measures == measures:
            try:
                source.read()
            except NoReading as error:
                notes.append(f"no {measures} energy by {source.name}: {error}")
            else:
                return source
    return None


def _answer(name: str, command: Sequence[str]) -> str:
    """What a program prints: by the job's file where the job asks it, else by running it."""
    begin = os.environ.get(ANSWERS)
    if begin:
        path = Path(f"{begin}.{name}")
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime <= OLDEST_ANSWER:
                return path.read_text(encoding="utf-8", errors="replace")
    if not shutil.which(command[0]):
        raise NoReading(f"{command[0]}: not found")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoReading(str(error)) from None
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
        raise NoReading(f"{command[0]}: {reason}")
    return done.stdout
