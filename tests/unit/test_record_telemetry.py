"""Telemetry with a made-up NVML and RAPL, and for real on this machine."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudmask.errors import InputError
from cloudmask.hardware.gpus import Gpus
from cloudmask.record import energy, telemetry
from cloudmask.record.telemetry import COLUMNS, Telemetry, summarize


class FakeNvml:
    """As much of `pynvml` as is used: two cards, a handle being the card's number."""

    NVML_TEMPERATURE_GPU = 0
    UUIDS = ("GPU-aaaa-1", "GPU-bbbb-2")

    class NVMLError(Exception):
        pass

    def __init__(self, counter=True):
        self.counter = counter
        self.millijoules = [5_000_000, 7_000_000]
        self.milliwatts = [300_000, 100_000]

    def nvmlInit(self): ...

    def nvmlShutdown(self): ...

    def nvmlSystemGetDriverVersion(self):
        return b"550.1"

    def nvmlDeviceGetCount(self):
        return 2

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != "MIG-cccc":
            raise self.NVMLError("not found")
        return 1

    def nvmlDeviceGetUUID(self, card):
        return self.UUIDS[card]

    def nvmlDeviceGetName(self, card):
        return "Made-up GPU"

    def nvmlDeviceGetMemoryInfo(self, card):
        return SimpleNamespace(total=80 << 30, used=(card + 1) << 30)

    def nvmlDeviceGetUtilizationRates(self, card):
        return SimpleNamespace(gpu=80 - 40 * card)

    def nvmlDeviceGetTemperature(self, card, sensor):
        raise self.NVMLError("not supported")

    def nvmlDeviceGetPowerUsage(self, card):
        return self.milliwatts[card]

    def nvmlDeviceGetTotalEnergyConsumption(self, card):
        if not self.counter:
            raise self.NVMLError("not supported")
        return self.millijoules[card]


@pytest.fixture(autouse=True)
def no_devices(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "no powercap")


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(telemetry.time, "monotonic", lambda: now.seconds)
    return now


def rapl(folder, name, kind, microjoules, span=10_000_000):
    zone = folder / name
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{kind}\n")
    (zone / "max_energy_range_uj").write_text(f"{span}\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    return zone / "energy_uj"


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_energy_from_the_cards_counters(tmp_path, nvml, clock):
    log = Telemetry(tmp_path / "t.csv", interval=3600)
    log.start()
    clock.seconds += 10
    nvml.millijoules = [5_003_000, 7_001_500]
    nvml.milliwatts = [10_000, 20_000]
    log.stop()
    summary = log.summary()
    assert summary["gpu_joules"] == pytest.approx(4.5)
    assert summary["joules"] == pytest.approx(4.5)
    assert summary["cpu_joules"] is None
    assert summary["mean_power_watts"] == pytest.approx(0.45)
    assert summary["peak_power_watts"] == pytest.approx(400)
    assert summary["mean_gpu_utilisation"] == pytest.approx(60)
    assert summary["peak_gpu_memory_bytes"] == 2 << 30
    assert (summary["samples"], summary["seconds"]) == (2, 10.0)
    assert summary["sources"]["gpu"] == f"nvml {energy.COUNTER}"
    assert summary["sources"]["cpu"] is None
    assert [row["id"] for row in rows(log.path)[1:3]] == list(FakeNvml.UUIDS)
    assert rows(log.path)[1]["temperature_celsius"] == ""


def test_energy_from_power_where_there_is_no_counter(tmp_path, nvml, clock):
    nvml.counter = False
    log = Telemetry(tmp_path / "t.csv", interval=3600)
    log.start()
    clock.seconds += 4
    nvml.milliwatts = [100_000, 100_000]
    log.stop()
    summary = log.summary()
    # Trapezoids: 4 s of 300 to 100 W and 4 s of 100 W.
    assert summary["gpu_joules"] == pytest.approx(4 * 200 + 4 * 100)
    assert summary["mean_power_watts"] == pytest.approx(300)
    assert summary["sources"]["gpu"] == f"nvml {energy.INTEGRATED}"


def test_cards_that_tell_nothing_are_none(tmp_path, nvml, clock):
    nvml.counter = False
    nvml.milliwatts = []
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        clock.seconds += 1
    summary = log.summary()
    for key in ("gpu_joules", "joules", "mean_power_watts", "peak_power_watts"):
        assert summary[key] is None
    assert summary["peak_gpu_memory_bytes"] == 2 << 30


def test_sum_without_one_of_its_cards_is_none(tmp_path, nvml, clock):
    nvml.counter = False
    nvml.milliwatts = [300_000]
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        clock.seconds += 1
    assert log.summary()["gpu_joules"] is None
    assert log.summary()["peak_power_watts"] is None


def test_resumed_run_adds_up_on_other_cards(tmp_path, nvml, clock, monkeypatch):
    path = tmp_path / "t.csv"
    for visible, joules in ((None, 2000), ("1", 6000)):
        if visible:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        log = Telemetry(path, interval=3600)
        log.start()
        clock.seconds += 10
        nvml.millijoules = [value + joules for value in nvml.millijoules]
        log.stop()
        with path.open("a") as handle:
            handle.write("2026-01-01T00:00:00,1,")  # died while writing
    summary = summarize(path)
    assert summary["gpu_joules"] == pytest.approx(2 + 2 + 6)
    assert summary["seconds"] == pytest.approx(20)
    assert summary["mean_power_watts"] == pytest.approx(0.5)
    assert [row["attempt"] for row in rows(path) if row["device"] == "host"] == list("1122")
    assert path.read_text().count(",".join(COLUMNS)) == 1


@pytest.mark.parametrize(
    ("visible", "uuids"),
    [
        ("1", ["GPU-bbbb-2"]),
        ("1,0", ["GPU-bbbb-2", "GPU-aaaa-1"]),
        ("GPU-bbbb", ["GPU-bbbb-2"]),
        ("MIG-cccc", ["GPU-bbbb-2"]),
        ("0,7,1", ["GPU-aaaa-1"]),
        ("GPU-zzzz", []),
        ("MIG-zzzz", []),
        ("-1", []),
        ("", []),
    ],
)
def test_only_visible_cards_count(nvml, monkeypatch, visible, uuids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    gpus = Gpus()
    assert [card.uuid for card in gpus.cards] == uuids
    assert gpus.driver == "550.1"


def test_failing_library_is_noted(tmp_path, nvml, monkeypatch):
    def fail():
        raise nvml.NVMLError("driver not loaded")

    monkeypatch.setattr(nvml, "nvmlInit", fail)
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        pass
    assert {row["device"] for row in rows(log.path)} == {"host"}
    assert any("driver not loaded" in note for note in log.summary()["sources"]["notes"])


def test_absent_binding_is_noted(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gpus = Gpus()
    assert gpus.cards == []
    assert "no GPU telemetry" in gpus.notes[0]


def test_cpu_energy_wraps_and_counts_packages_alone(tmp_path, monkeypatch):
    zones = tmp_path / "powercap"
    monkeypatch.setattr(energy, "POWERCAP", zones)
    first = rapl(zones, "intel-rapl:0", "package-0", 9_000_000)
    second = rapl(zones, "intel-rapl:1", "package-1", 0)
    others = [
        rapl(zones, "intel-rapl:0:0", "core", 1),
        rapl(zones, "intel-rapl:2", "psys", 1),
        rapl(zones, "intel-rapl-mmio:0", "package-0", 1),
    ]
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        first.write_text("2000000")
        second.write_text("500000")
        for other in others:
            other.write_text("8000000")
    summary = log.summary()
    assert summary["cpu_joules"] == pytest.approx(3 + 0.5)
    assert summary["joules"] == pytest.approx(3.5)
    assert summary["sources"]["cpu"] == energy.RAPL
    assert summary["mean_power_watts"] is None


def test_unreadable_cpu_counter_is_none(tmp_path, monkeypatch):
    zones = tmp_path / "powercap"
    monkeypatch.setattr(energy, "POWERCAP", zones)
    rapl(zones, "intel-rapl:0", "package-0", 1)
    rapl(zones, "intel-rapl:1", "package-1", 1).unlink()
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        pass
    assert log.summary()["cpu_joules"] is None
    assert any("intel-rapl:1" in note for note in log.notes)


def test_reset_counter_counts_what_it_holds():
    card = energy.MeasuredEnergy("nvml")
    for counted in (100.0, 150.0, 20.0, None, 25.0):
        card.add(0.0, None, counted)
    assert card.joules == pytest.approx(50 + 20 + 5)


def test_full_disk_does_not_end_the_run(tmp_path):
    log = Telemetry(tmp_path / "t.csv", interval=3600)
    with log:
        log._file.close()
        log._file = Path("/dev/full").open("w")  # noqa: SIM115
    assert any("samples are missing" in note for note in log.notes)


def test_foreign_file_is_refused(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(InputError, match=r"history\.csv: not a telemetry file"):
        Telemetry(path).start()
    with pytest.raises(InputError, match=r"history\.csv: not a telemetry file"):
        summarize(path)
    with pytest.raises(InputError, match="cannot be read"):
        summarize(tmp_path / "none.csv")
    assert path.read_text() == "epoch,loss\n1,0.5\n"


def test_damaged_lines_are_left_out_and_end_no_run(tmp_path):
    path = tmp_path / "telemetry.csv"
    sampling = Telemetry(path, interval=60)
    sampling.start()
    sampling.stop()
    lines = path.read_text().splitlines()
    numbers = dict(zip(COLUMNS, lines[1].split(","), strict=True))
    bad = [
        lines[1].replace(numbers["process_memory_bytes"], "9;307520"),
        lines[1].replace(numbers["seconds"], "nan"),
        lines[1].rpartition(",")[0],
        "\0" * 20,
    ]
    path.write_text("\n".join([*lines, *bad]) + "\n")
    summary = sampling.summary()
    assert summary["samples"] == len(lines) - 1
    assert f"telemetry.csv: {len(bad)} damaged lines were left out" in summary["sources"]["notes"]
    path.write_text("no telemetry\n1\n")
    summary = sampling.summary()
    assert summary["samples"] == 0
    assert "not a telemetry file" in summary["sources"]["notes"][-1]


def test_this_machine_for_real(tmp_path):
    with Telemetry(tmp_path / "t.csv", interval=0.02) as log:
        ballast = bytearray(os.urandom(1 << 20)) * 64
        time.sleep(0.3)
        assert len(rows(log.path)) >= 3, "rows must be in the file while it runs"
        del ballast
    log.stop()
    summary = log.summary()
    assert summary["samples"] >= 5
    assert 0.3 <= summary["seconds"] < 10
    assert summary["peak_host_memory_bytes"] > 64 << 20
    used = [float(row["utilisation_percent"]) for row in rows(log.path)[1:]]
    assert max(used) > 0 and rows(log.path)[0]["utilisation_percent"] == ""


def test_killed_run_keeps_its_samples(tmp_path):
    path = tmp_path / "t.csv"
    code = (
        "import sys, time\n"
        "from cloudmask.record.telemetry import Telemetry\n"
        f"Telemetry({str(path)!r}, interval=0.02).start()\n"
        "print('on', flush=True)\n"
        "time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child.stdout.readline()
    time.sleep(0.3)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert summarize(path)["samples"] >= 3
