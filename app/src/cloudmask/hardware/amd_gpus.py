"""AMD's GPUs that this process may use, through AMD SMI; none without its driver or its package.

`amdsmi` comes with ROCm, or with the extra `amd`; the library itself, libamd_smi.so, with ROCm
alone. The names and units are those of its reference: power in watts, temperature in degrees
Celsius, memory in bytes, energy in steps of `counter_resolution` microjoules.
"""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from typing import Any

from cloudmask.hardware.gpus import GpuCard, Reading

# In this order, each numbering what the one before has left; HIP takes CUDA's name for its own.
VISIBLE = ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
# Of these the first that a card provides: the names differ between its generations.
POWERS = ("socket_power", "current_socket_power", "average_socket_power")
UNKNOWN_POWER = 0xFFFF  # what is not supported reads as this or a larger number, or as "N/A"
SENSORS = ("EDGE", "HOTSPOT")  # data center cards have no sensor at their edge


class AmdGpus:
    """The visible GPUs, in AMD SMI's order; `notes` explain why there are none.

    Numbers in the environment's lists are taken for AMD SMI's, which counts cards by their position
    on the PCI bus; that holds where a node's cards are all alike.
    """

    library = "amdsmi"

    def __init__(self) -> None:
        self.cards: list[GpuCard] = []
        self.driver: str | None = None
        self.notes: list[str] = []
        self._handles: list[Any] = []
        self._smi: Any = None
        try:
            # Without the library its import prints, and fails by whatever comes next.
            with contextlib.redirect_stdout(io.StringIO()):
                import amdsmi

            amdsmi.amdsmi_init()
            self._smi = amdsmi
            self._handles = _visible(amdsmi)
        except ModuleNotFoundError:
            return  # Most machines have no AMD GPU: nothing to report.
        except Exception as error:
            self.notes.append(f"no AMD GPU telemetry: {type(error).__name__}: {error}")
            return
        self.cards = [_card(amdsmi, handle) for handle in self._handles]
        if self._handles:
            facts = _query(amdsmi.amdsmi_get_gpu_driver_info, self._handles[0]) or {}
            self.driver = _known(facts.get("driver_version"))

    def read(self, index: int) -> Reading:
        """Read the `index`-th visible card; never raises."""
        smi, handle = self._smi, self._handles[index]
        activity = _query(smi.amdsmi_get_gpu_activity, handle) or {}
        vram = smi.AmdSmiMemoryType.VRAM
        return Reading(
            utilisation_percent=_known(activity.get("gfx_activity")),
            memory_bytes=_query(smi.amdsmi_get_gpu_memory_usage, handle, vram),
            power_watts=_watts(_query(smi.amdsmi_get_power_info, handle) or {}),
            temperature_celsius=_celsius(smi, handle),
            energy_joules=_joules(_query(smi.amdsmi_get_energy_count, handle) or {}),
        )

    def close(self) -> None:
        """Shut the library down."""
        if self._smi:
            _query(self._smi.amdsmi_shut_down)
            self._smi = None


def _query(query: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None: cards, partitions and versions differ in what they provide."""
    try:
        return query(*arguments)
    except Exception:
        return None


def _known(value: Any) -> Any:
    return None if value in ("N/A", "") else value


def _card(smi: Any, handle: Any) -> GpuCard:
    facts = _query(smi.amdsmi_get_gpu_asic_info, handle) or {}
    return GpuCard(
        uuid=_query(smi.amdsmi_get_gpu_device_uuid, handle) or "unknown",
        name=_known(facts.get("market_name")) or "unknown",
        memory_bytes=_query(smi.amdsmi_get_gpu_memory_total, handle, smi.AmdSmiMemoryType.VRAM),
        capability=None,  # CUDA's measure
    )


def _watts(facts: dict[str, Any]) -> float | None:
    for key in POWERS:
        value = facts.get(key)
        if isinstance(value, int) and 0 < value < UNKNOWN_POWER:
            return float(value)
    return None


def _celsius(smi: Any, handle: Any) -> float | None:
    for name in SENSORS:

        def ask(handle: Any, name: str = name) -> Any:
            sensor, current = smi.AmdSmiTemperatureType[name], smi.AmdSmiTemperatureMetric.CURRENT
            return smi.amdsmi_get_temp_metric(handle, sensor, current)

        value = _query(ask, handle)
        if value is not None:
            return value
    return None


def _joules(facts: dict[str, Any]) -> float | None:
    # "power" is what the first versions called the accumulator. One that stands at 0 does not
    # count: of two dies in one package, one has the energy of both.
    counted = facts.get("energy_accumulator", facts.get("power"))
    resolution = facts.get("counter_resolution")
    return counted * resolution / 1e6 if counted and resolution else None


def _visible(smi: Any) -> list[Any]:
    """Handles of the visible cards."""
    handles = list(smi.amdsmi_get_processor_handles())
    # HIP and CUDA name the same list; where both are set, HIP's counts.
    for name in VISIBLE[:2] if "HIP_VISIBLE_DEVICES" in os.environ else VISIBLE:
        wanted = os.environ.get(name)
        if wanted is not None:
            handles = _chosen(smi, handles, wanted.split(","))
    return handles


def _chosen(smi: Any, handles: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """The cards by number, or by "GPU-" and the number that the driver calls unique."""
    chosen = []
    for name in (name.strip() for name in names):
        if name.isdigit() and int(name) < len(handles):
            chosen.append(handles[int(name)])
        elif name.startswith("GPU-"):
            chosen += [handle for handle in handles if _serial(smi, handle) == name[4:].lower()]
        else:
            break  # As in CUDA, what follows a name that does not exist is not visible either.
    return chosen


def _serial(smi: Any, handle: Any) -> str:
    facts = _query(smi.amdsmi_get_gpu_asic_info, handle) or {}
    return str(facts.get("asic_serial", "")).lower().removeprefix("0x")
