"""Sample power, energy, use and memory of a run's GPUs and host while it runs.

One CSV row per device and sample, so that a resumed run may continue on a node with other cards:
`time` UTC, `attempt` from 1, `seconds` since the attempt's start, `device` ("host", "gpu0", ...,
and "node", the whole node with all jobs on it, where it tells its power),
`id` host name or UUID, `utilisation_percent`, `memory_bytes` in use on the device by everyone,
`process_memory_bytes` resident in this process and its children (shared pages count in each),
`power_watts`, `temperature_celsius`, `joules` since the attempt's start and the `source` of these.
What cannot be measured is empty. The host's joules are those of its CPUs.
"""

import contextlib
import csv
import datetime
import io
import math
import platform
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.hardware.gpu_libraries import open_gpus
from cloudmask.record.energy import CPU, MeasuredEnergy, NoReading, open_source
from cloudmask.record.node_power import NodePower
from cloudmask.system import reading
from cloudmask.system.files import csv_text, read_csv, whole_lines

COLUMNS = (
    "time",
    "attempt",
    "seconds",
    "device",
    "id",
    "utilisation_percent",
    "memory_bytes",
    "process_memory_bytes",
    "power_watts",
    "temperature_celsius",
    "joules",
    "source",
)
NUMBERS = ("seconds", *COLUMNS[5:11])
LARGEST_FILE = 1024 * reading.MIB  # a sample of ten devices takes some 1 KB of it
STOP_SECONDS = 10  # a driver that hangs must not keep a run from ending


class Telemetry:
    """Samples into the CSV file at `path` every `interval` seconds, from a thread of its own.

    It never ends a run: a value that cannot be sampled is empty in the file, and `notes` has the
    reason. Only a file at `path` that is not telemetry raises InputError, at `start`.
    """

    def __init__(self, path: Path | str, interval: float = 1.0) -> None:
        self.path = Path(path)
        self.interval = interval
        self.notes: list[str] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the first sample and go on in the background."""
        import psutil

        lines = whole_lines(self.path)
        if lines and lines[0] != ",".join(COLUMNS):
            raise InputError(f"{self.path}: not a telemetry file; expected columns {COLUMNS}")
        self._attempt = 1 + max((_attempt(line) for line in lines[1:]), default=0)
        self._process = psutil.Process()
        psutil.cpu_percent()  # the next call returns the use since this one
        self._gpus = open_gpus()
        self.notes += self._gpus.notes
        self._energies = [MeasuredEnergy(self._gpus.library) for _ in self._gpus.cards]
        self._cpu = open_source(CPU, self.notes)
        self._file = self.path.open("a", newline="", encoding="utf-8")
        if not lines:
            self._file.write(",".join(COLUMNS) + "\n")
        self._began = time.monotonic()
        self._node = NodePower(self.notes)
        self._sample(first=True)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take a last sample and close the file; nothing happens if it is not running."""
        if not self._thread:
            return
        self._stopping.set()
        self._thread.join(STOP_SECONDS)
        hangs = self._thread.is_alive()
        self._thread = None
        if hangs:
            self.notes.append(f"sampling still hung after {STOP_SECONDS} s")
            return
        self._node.stop()
        self._sample()
        with contextlib.suppress(OSError):  # a full disk is noted already
            self._file.close()
        self._gpus.close()

    def __enter__(self) -> "Telemetry":
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.stop()

    def summary(self) -> dict:
        """The figures of `summarize`, with this attempt's notes among its sources."""
        try:
            rows, damaged = _read(self.path)
        except InputError as error:  # a finished training is not lost for it
            rows, damaged = [], [str(error)]
        summary = _figures(rows)
        summary["sources"]["notes"] = [*self.notes, *damaged]
        return summary

    def _run(self) -> None:
        while not self._stopping.wait(self.interval):
            self._sample()

    def _sample(self, first: bool = False) -> None:
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        seconds = time.monotonic() - self._began
        common = {"time": now, "attempt": self._attempt, "seconds": f"{seconds:.3f}"}
        try:
            rows = [common | self._host(first)]
            rows += [common | self._gpu(i, seconds) for i in range(len(self._gpus.cards))]
            rows += [common | row for row in self._node_rows()]
            self._file.write(csv_text(COLUMNS, rows, header=False))
            self._file.flush()
        except OSError as error:  # such as a full disk
            note = f"samples are missing: {error}"
            if note not in self.notes:
                self.notes.append(note)

    def _host(self, first: bool) -> dict:
        import psutil

        joules = self._cpu_joules()
        return {
            "device": "host",
            "id": platform.node(),
            "utilisation_percent": None if first else psutil.cpu_percent(),
            "memory_bytes": psutil.virtual_memory().used,
            "process_memory_bytes": self._tree_bytes(),
            "joules": None if joules is None else f"{joules:.3f}",
            "source": self._cpu.name if self._cpu else None,
        }

    def _cpu_joules(self) -> float | None:
        """By the source's counter; one that cannot be read any more is given up."""
        try:
            return self._cpu.read().joules if self._cpu else None
        except NoReading as error:
            self._cpu = None
            self.notes.append(f"CPU energy is missing: {error}")
            return None

    def _node_rows(self) -> list[dict]:
        """One row if there is a new reading of the node's power."""
        found = self._node.take()
        if found is None:
            return []
        joules = None if found.joules is None else f"{found.joules:.3f}"
        row = {"power_watts": found.watts, "joules": joules, "source": found.source}
        return [{"device": "node", "id": platform.node()} | row]

    def _tree_bytes(self) -> int:
        import psutil

        total = 0
        for process in (self._process, *self._process.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:  # a child that has just ended
                continue
        return total

    def _gpu(self, index: int, seconds: float) -> dict:
        card = self._gpus.read(index)
        energy = self._energies[index]
        energy.add(seconds, card.power_watts, card.energy_joules)
        return {
            "device": f"gpu{index}",
            "id": self._gpus.cards[index].uuid,
            "utilisation_percent": card.utilisation_percent,
            "memory_bytes": card.memory_bytes,
            "power_watts": card.power_watts,
            "temperature_celsius": card.temperature_celsius,
            "joules": None if energy.joules is None else f"{energy.joules:.3f}",
            "source": energy.source,
        }


@dataclass(frozen=True)
class PowerSeries:
    """Power over the sampled time: pairs of seconds and watts, of all GPUs together and the node.

    The attempts of a run follow each other without the time between them; `breaks` are the seconds
    at which a later attempt begins.
    """

    gpus: tuple[tuple[float, float], ...]
    node: tuple[tuple[float, float], ...]
    breaks: tuple[float, ...]


def read_power(path: Path | str) -> PowerSeries:
    """The power in a telemetry file; raises InputError if it is missing or damaged.

    A moment at which one of the cards did not tell its power has no sum.
    """
    cells: dict[str, dict[tuple[str, str], list[str | None]]] = {"gpus": {}, "node": {}}
    lengths: dict[str, float] = {}
    try:
        for row in _read(Path(path))[0]:
            moment = row["attempt"], row["seconds"]
            lengths[moment[0]] = float(moment[1])
            if row["device"] != "host":
                kind = "node" if row["device"] == "node" else "gpus"
                cells[kind].setdefault(moment, []).append(row["power_watts"])
        offsets, end = {}, 0.0
        for attempt, length in lengths.items():
            offsets[attempt] = end
            end += length
        series = {
            kind: tuple(
                (offsets[attempt] + float(seconds), watts)
                for (attempt, seconds), values in moments.items()
                if (watts := _sum(values)) is not None and math.isfinite(watts)
            )
            for kind, moments in cells.items()
        }
    except ValueError as error:
        raise InputError(f"{path}: damaged ({error})") from None
    return PowerSeries(breaks=tuple(offsets.values())[1:], **series)


def summarize(path: Path | str) -> dict:
    """Figures of all attempts in a telemetry file; None where nothing was measured.

    `joules` adds what was measured of GPUs and CPUs, `node_joules` is of the whole node with other
    jobs on it, `sources` names how all were found; the powers (watts) are those of
    all GPUs of the node together, `mean_gpu_utilisation` is in percent, `peak_gpu_memory_bytes` of
    the fullest card, `peak_host_memory_bytes` of this process and its children. `seconds` is the
    time sampled. Raises InputError if the file is missing or no telemetry.
    """
    rows, damaged = _read(Path(path))
    figures = _figures(rows)
    figures["sources"]["notes"] = damaged
    return figures


def _read(path: Path) -> tuple[list[dict], list[str]]:
    """The rows that are whole, and a line about those that are not."""
    try:
        text = reading.read_bytes(path, LARGEST_FILE).decode("utf-8", errors="replace")
        rows = list(read_csv(io.StringIO(text, newline="")))
    except (OSError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if rows and tuple(rows[0]) != COLUMNS:
        raise InputError(f"{path}: not a telemetry file; expected columns {', '.join(COLUMNS)}")
    whole = [row for row in rows if _is_whole(row)]
    count = len(rows) - len(whole)
    return whole, [f"{path.name}: {count} damaged lines were left out"] if count else []


def _is_whole(row: dict[str, str | None]) -> bool:
    try:
        return None not in row.values() and all(
            math.isfinite(float(cell)) for name in NUMBERS if (cell := row[name])
        )
    except ValueError:
        return False


def _figures(rows: list[dict]) -> dict:
    host = [row for row in rows if row["device"] == "host"]
    gpus = [row for row in rows if row["device"].startswith("gpu")]
    node = [row for row in rows if row["device"] == "node"]
    # Joules and seconds count from the start of an attempt: the last row of each has its sum.
    last_host = {row["attempt"]: row for row in host}
    last_gpus = {(row["attempt"], row["device"]): row for row in gpus}
    gpu_seconds = _sum(row["seconds"] for row in {r["attempt"]: r for r in gpus}.values())
    gpu_joules = _sum(row["joules"] for row in last_gpus.values())
    cpu_joules = _sum(row["joules"] for row in last_host.values())
    node_joules = _sum(row["joules"] for row in {r["attempt"]: r for r in node}.values())
    measured = [joules for joules in (gpu_joules, cpu_joules) if joules is not None]
    return {
        "gpu_joules": gpu_joules,
        "cpu_joules": cpu_joules,
        "joules": sum(measured) if measured else None,
        "node_joules": node_joules,
        "mean_power_watts": gpu_joules / gpu_seconds
        if gpu_seconds and gpu_joules is not None
        else None,
        "peak_power_watts": _peak_power(gpus),
        "mean_gpu_utilisation": _mean(_numbers(gpus, "utilisation_percent")),
        "peak_host_memory_bytes": max(_numbers(host, "process_memory_bytes", int), default=None),
        "peak_gpu_memory_bytes": max(_numbers(gpus, "memory_bytes", int), default=None),
        "samples": len(host),
        "seconds": _sum(row["seconds"] for row in last_host.values()) or 0.0,
        "sources": {
            "gpu": _sources(gpus),
            "cpu": _sources(host),
            "node": _sources(node),
            "notes": [],
        },
    }


def _peak_power(gpus: list[dict]) -> float | None:
    moments = defaultdict(list)
    for row in gpus:
        moments[row["attempt"], row["seconds"]].append(row["power_watts"])
    # A sum without one of its cards would be too small: such a moment does not count.
    return max((watts for watts in map(_sum, moments.values()) if watts is not None), default=None)


def _sources(rows: list[dict]) -> str | None:
    return ", ".join(sorted({row["source"] for row in rows if row["source"]})) or None


def _numbers(rows: list[dict], column: str, kind: type = float) -> list:
    return [kind(float(row[column])) for row in rows if row[column]]


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _sum(cells) -> float | None:
    """Sum of the cells, or None if there are none or one of them was not measured."""
    cells = list(cells)
    return sum(map(float, cells)) if cells and all(cells) else None


def _attempt(line: str) -> int:
    attempt = line.split(",")[1:2]
    return int(attempt[0]) if attempt and attempt[0].isdigit() else 0
