"""Joules of GPUs and CPUs, from counters that start anew and from power that is sampled."""

from pathlib import Path

COUNTER, INTEGRATED = "energy counter", "power integrated"  # after the name of a library
RAPL = "rapl"

POWERCAP = Path("/sys/class/powercap")  # the kernel's power capping interface, for AMD as well


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


class GpuEnergy:
    """Joules of one card: by its counter where it has one, else by the trapezoids of its power."""

    def __init__(self, library: str) -> None:
        self._counts, self._integrates = f"{library} {COUNTER}", f"{library} {INTEGRATED}"
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


class CpuEnergy:
    """Joules of the CPU packages since the first reading; to `notes` goes why there are none."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._packages: list[tuple[Path, _Counter]] = []
        try:
            # "intel-rapl:0" is a package; "intel-rapl:0:0" is a part that it counts already.
            for zone in sorted(POWERCAP.glob("intel-rapl:*")):
                if (zone / "name").read_text().startswith("package"):
                    span = int((zone / "max_energy_range_uj").read_text())
                    self._packages.append((zone / "energy_uj", _Counter(span)))
        except (OSError, ValueError) as error:
            self._give_up(error)
        else:
            if not self._packages:
                self._notes.append(f"no CPU energy: no package under {POWERCAP}")

    def joules(self) -> float | None:
        """Read the counters; None if one of them cannot be read, since a part is no sum."""
        try:
            for path, counter in self._packages:
                counter.add(int(path.read_text()))
        except (OSError, ValueError) as error:
            self._give_up(error)
        if not self._packages:
            return None
        return sum(counter.total for _, counter in self._packages) / 1e6

    def _give_up(self, error: Exception) -> None:
        # Since 2020 the counters are root's alone on most systems (CVE-2020-8694).
        self._packages = []
        self._notes.append(f"no CPU energy: {error}")
