"""The GPUs that this process may use, through NVML; none where there is no driver or no binding."""

import os
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reading:
    """What a card tells at one moment; None where it does not tell."""

    utilisation_percent: float | None
    memory_bytes: int | None
    power_watts: float | None
    temperature_celsius: float | None
    energy_joules: float | None  # since the driver was loaded; Volta and newer


class Gpus:
    """The visible GPUs, in the order of CUDA_VISIBLE_DEVICES; `notes` tell why there are none.

    NVML counts cards by their place on the PCI bus. Where CUDA_VISIBLE_DEVICES holds numbers, as
    Slurm writes them, these are taken for NVML's; that holds where a node's cards are all alike.
    """

    def __init__(self) -> None:
        self.uuids: list[str] = []
        self.names: list[str] = []
        self.memory: list[int | None] = []  # bytes of the whole card
        self.capabilities: list[str | None] = []  # compute capability, "7.0"
        self.driver: str | None = None
        self.notes: list[str] = []
        self._handles: list[Any] = []
        self._nvml: Any = None
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception as error:  # a binding that does not fit the driver raises what it likes
            self.notes.append(f"no GPU telemetry: {type(error).__name__}: {error}")
            return
        self._nvml = pynvml
        self.driver = _text(_ask(pynvml.nvmlSystemGetDriverVersion))
        try:
            self._handles = _visible(pynvml)
        except Exception as error:
            self.notes.append(f"no GPU telemetry: {type(error).__name__}: {error}")
        for handle in self._handles:
            memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
            self.uuids.append(_text(_ask(pynvml.nvmlDeviceGetUUID, handle)) or "unknown")
            self.names.append(_text(_ask(pynvml.nvmlDeviceGetName, handle)) or "unknown")
            self.memory.append(memory.total if memory else None)
            # Named within: not every binding has it, and then it is not known either.
            capability = _ask(lambda h: pynvml.nvmlDeviceGetCudaComputeCapability(h), handle)
            self.capabilities.append("{}.{}".format(*capability) if capability else None)

    def read(self, index: int) -> Reading:
        """Read the `index`-th visible card; never raises."""
        nvml, handle = self._nvml, self._handles[index]
        rates = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _ask(nvml.nvmlDeviceGetPowerUsage, handle)
        millijoules = _ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        celsius = _ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
        return Reading(
            utilisation_percent=rates.gpu if rates else None,
            memory_bytes=memory.used if memory else None,
            power_watts=None if milliwatts is None else milliwatts / 1000,
            temperature_celsius=celsius,
            energy_joules=None if millijoules is None else millijoules / 1000,
        )

    def close(self) -> None:
        """Give the library back."""
        if self._nvml:
            _ask(self._nvml.nvmlShutdown)
            self._nvml = None


def _ask(query, *arguments):
    """The answer, or None: cards, MIG slices and drivers differ in what they can tell."""
    try:
        return query(*arguments)
    except Exception:
        return None


def _text(value: str | bytes | None) -> str | None:
    # Bindings older than 11.5 return bytes.
    return value.decode() if isinstance(value, bytes) else value


def _visible(nvml) -> list:
    count = nvml.nvmlDeviceGetCount()
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    handles = []
    for name in (part.strip() for part in wanted.split(",")):
        handle = _handle(nvml, name, count)
        if handle is None:
            break  # as CUDA does: what follows a name that does not exist is not visible either
        handles.append(handle)
    return handles


def _handle(nvml, name: str, count: int):
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name)) if int(name) < count else None
    if name.startswith("MIG-"):
        return _ask(nvml.nvmlDeviceGetHandleByUUID, name)
    if not name.startswith("GPU-"):
        return None
    # CUDA takes the beginning of a UUID for the whole.
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if (_text(_ask(nvml.nvmlDeviceGetUUID, handle)) or "").startswith(name):
            return handle
    return None
