"""AMD's GPUs by a stand-in for `amdsmi`; it was not tried on the hardware."""

import enum
import sys

import pytest

from cloudmask.hardware import amd_gpus
from cloudmask.hardware.amd_gpus import AmdGpus
from cloudmask.hardware.gpu_libraries import open_gpus
from cloudmask.record.telemetry import Telemetry


class FakeSmi:
    """As much of `amdsmi` as is used: two cards, a handle being the card's number."""

    AmdSmiMemoryType = enum.IntEnum("AmdSmiMemoryType", {"VRAM": 0})
    AmdSmiTemperatureType = enum.IntEnum("AmdSmiTemperatureType", {"EDGE": 0, "HOTSPOT": 1})
    AmdSmiTemperatureMetric = enum.IntEnum("AmdSmiTemperatureMetric", {"CURRENT": 0})

    class AmdSmiLibraryException(Exception):
        pass

    def __init__(self):
        self.open = 0
        self.power = {"socket_power": "N/A", "current_socket_power": 550}
        self.steps = [1_000_000, 0]

    def amdsmi_init(self):
        self.open += 1

    def amdsmi_shut_down(self):
        self.open -= 1

    def amdsmi_get_processor_handles(self):
        return [0, 1]

    def amdsmi_get_gpu_asic_info(self, card):
        return {"market_name": "AMD Instinct MI300X", "asic_serial": f"0xABCD{card}"}

    def amdsmi_get_gpu_device_uuid(self, card):
        return f"{card}bff74a1-0000-1000-80a1-000000000000"

    def amdsmi_get_gpu_driver_info(self, card):
        return {"driver_name": "amdgpu", "driver_version": "6.8.5", "driver_date": "N/A"}

    def amdsmi_get_gpu_memory_total(self, card, kind):
        return 192 << 30

    def amdsmi_get_gpu_memory_usage(self, card, kind):
        return (card + 1) << 30

    def amdsmi_get_gpu_activity(self, card):
        return {"gfx_activity": 80 if card == 0 else "N/A", "umc_activity": 5}

    def amdsmi_get_power_info(self, card):
        return self.power

    def amdsmi_get_temp_metric(self, card, sensor, metric):
        if sensor is self.AmdSmiTemperatureType.EDGE:
            raise self.AmdSmiLibraryException("not supported")
        return 61

    def amdsmi_get_energy_count(self, card):
        return {
            "energy_accumulator": self.steps[card],
            "counter_resolution": 15.3,
            "timestamp": 1,
        }


@pytest.fixture
def smi(monkeypatch):
    for name in amd_gpus.VISIBLE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    fake = FakeSmi()
    monkeypatch.setitem(sys.modules, "amdsmi", fake)
    return fake


def test_cards_and_their_readings(smi):
    gpus = open_gpus()
    assert (gpus.library, gpus.driver) == ("amdsmi", "6.8.5")
    assert [card.name for card in gpus.cards] == ["AMD Instinct MI300X"] * 2
    assert gpus.cards[1].uuid.startswith("1bff") and gpus.cards[0].memory_bytes == 192 << 30
    reading = gpus.read(0)
    assert (reading.utilisation_percent, reading.power_watts) == (80, 550)
    assert (reading.memory_bytes, reading.temperature_celsius) == (1 << 30, 61)
    assert reading.energy_joules == pytest.approx(15.3)
    gpus.close()
    assert smi.open == 0


def test_what_a_card_does_not_provide_is_none(smi):
    """Neither the text N/A nor a counter that stands still is a reading."""
    smi.power = {"socket_power": 0xFFFFFFFF, "average_socket_power": "N/A"}
    reading = AmdGpus().read(1)
    assert (reading.utilisation_percent, reading.power_watts) == (None, None)
    assert reading.energy_joules is None


def test_power_of_an_older_card(smi):
    smi.power = {"socket_power": 0, "current_socket_power": "N/A", "average_socket_power": 90}
    assert AmdGpus().read(0).power_watts == 90


@pytest.mark.parametrize(
    ("variables", "cards"),
    [
        ({"ROCR_VISIBLE_DEVICES": "1"}, "1"),
        ({"HIP_VISIBLE_DEVICES": "1,0"}, "10"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "1"),
        ({"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, "0"),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, "1"),
        ({"ROCR_VISIBLE_DEVICES": "GPU-abcd1"}, "1"),
        ({"ROCR_VISIBLE_DEVICES": "0,7,1"}, "0"),
        ({"ROCR_VISIBLE_DEVICES": ""}, ""),
    ],
)
def test_only_visible_cards_count(smi, monkeypatch, variables, cards):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert "".join(card.uuid[0] for card in AmdGpus().cards) == cards


def test_package_without_its_library_is_noted(smi, monkeypatch, tmp_path, capsys):
    """As `amdsmi` of the registry does where ROCm is not installed."""
    (tmp_path / "amdsmi.py").write_text("print('no libamd_smi.so')\n{}['libamd_smi.so']\n")
    monkeypatch.delitem(sys.modules, "amdsmi")
    monkeypatch.syspath_prepend(tmp_path)
    gpus = open_gpus()
    assert (gpus.library, gpus.cards) == ("nvml", [])
    assert any("no AMD GPU telemetry: KeyError" in note for note in gpus.notes)
    assert capsys.readouterr().out == ""


def test_no_package_is_nothing_to_report(smi, monkeypatch):
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    assert AmdGpus().notes == []


def test_telemetry_names_the_library(smi, tmp_path):
    with Telemetry(tmp_path / "t.csv", interval=3600) as log:
        smi.steps = [3_000_000, 0]
    summary = log.summary()
    assert summary["sources"]["gpu"] == "amdsmi energy counter, amdsmi power integrated"
    assert summary["gpu_joules"] >= 30.6
