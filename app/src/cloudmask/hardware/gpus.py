"""NVIDIA's GPUs that this process may use, through NVML; none without its driver or binding."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """Readings of a card at one moment; None where it does not provide one."""

    utilisation_percent: float | None
    memory_bytes: int | None
    power_watts: float | None
    temperature_celsius: float | None
    energy_joules: float | None  # since the driver was loaded; Volta and newer


@dataclass(frozen=True)
class GpuCard:
    """A visible card; None where the driver does not know.

    memory_bytes: of the whole card. capability: compute capability, such as "7.0".
    """

    uuid: str
    name: str
    memory_bytes: int | None
    capability: str | None


class Gpus:
    """The visible GPUs, in the order of CUDA_VISIBLE_DEVICES; `notes` explain why there are none.

    NVML counts cards by their position on the PCI bus. Where CUDA_VISIBLE_DEVICES holds numbers, as
    Slurm writes them, these are taken for NVML's; that holds where a node's cards are all alike.
    """

    library = "nvml"

    def __init__(self) -> None:
        self.cards: list[GpuCard] = []
        self.driver: str | None = None
        self.notes: list[str] = []
        self._handles: list[Any] = []
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception as error:  # A binding that does not fit the driver raises anything.
            self.notes.append(f"no GPU telemetry: {type(error).__name__}: {error}")
            return
        self._nvml = pynvml
        self.driver = _text(_query(pynvml.nvmlSystemGetDriverVersion))
        try:
            self._handles = _visible(pynvml)
        except Exception as error:
            self.notes.append(f"no GPU telemetry: {type(error).__name__}: {error}")
        self.cards = [_card(pynvml, handle) for handle in self._handles]

    def read(self, index: int) -> Reading:
        """Read the `index`-th visible card; never raises."""
        nvml, handle = self._nvml, self._handles[index]
        rates = _query(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _query(nvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _query(nvml.nvmlDeviceGetPowerUsage, handle)
        millijoules = _query(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        celsius = _query(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return Reading(
            utilisation_percent=rates.gpu if rates else None,
            memory_bytes=memory.used if memory else None,
            power_watts=None if milliwatts is None else milliwatts / 1000,
            temperature_celsius=celsius,
            energy_joules=None if millijoules is None else millijoules / 1000,
        )

    def processes(self) -> set[int] | None:
        """Numbers of all processes that compute on the visible cards; None if no card tells."""
        found: set[int] | None = None
        for handle in self._handles:
            # The lambda looks the name up within the query: not every binding has that function.
            running = _query(lambda h: self._nvml.nvmlDeviceGetComputeRunningProcesses(h), handle)
            if running is not None:
                found = (found or set()) | {process.pid for process in running}
        return found

    def close(self) -> None:
        """Shut the library down."""
        if self._nvml:
            _query(self._nvml.nvmlShutdown)
            self._nvml = None


def _query(query: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None: cards, MIG slices and drivers differ in what they provide."""
    try:
        return query(*arguments)
    except Exception:
        return None


def _text(value: str | bytes | None) -> str | None:
    # Bindings older than 11.5 return bytes.
    return value.decode() if isinstance(value, bytes) else value


def _card(nvml: Any, handle: Any) -> GpuCard:
    memory = _query(nvml.nvmlDeviceGetMemoryInfo, handle)
    # The lambda looks the name up within the query: not every binding has that function.
    capability = _query(lambda h: nvml.nvmlDeviceGetCudaComputeCapability(h), handle)
    return GpuCard(
        uuid=_text(_query(nvml.nvmlDeviceGetUUID, handle)) or "unknown",
        name=_text(_query(nvml.nvmlDeviceGetName, handle)) or "unknown",
        memory_bytes=memory.total if memory else None,
        capability="{}.{}".format(*capability) if capability else None,
    )


def _visible(nvml: Any) -> list[Any]:
    """Handles of the visible cards."""
    count = nvml.nvmlDeviceGetCount()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    handles = []
    for name in (part.strip() for part in wanted.split(",")):
        handle = _handle(nvml, name, count)
        if handle is None:
            break  # As in CUDA, what follows a name that does not exist is not visible either.
        handles.append(handle)
    return handles


def _handle(nvml: Any, name: str, count: int) -> Any:
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name)) if int(name) < count else None
    if name.startswith("MIG-"):
        return _query(nvml.nvmlDeviceGetHandleByUUID, name)
    if not name.startswith("GPU-"):
        return None
    # CUDA takes the beginning of a UUID for the whole.
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if (_text(_query(nvml.nvmlDeviceGetUUID, handle)) or "").startswith(name):
            return handle
    return None
