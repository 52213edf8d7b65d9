"""A GPU for tests, in place of NVIDIA's binding: put this folder on PYTHONPATH.

One card of 300 W while it is used, at 75 %, whose counter counts what it draws.
"""

import time
from types import SimpleNamespace

NVML_TEMPERATURE_GPU = 0
WATTS = 300.0
_began = time.monotonic()


def nvmlInit():
    """The driver is there."""


def nvmlShutdown():
    """And stays."""


def nvmlSystemGetDriverVersion():
    return "580.1"


def nvmlDeviceGetCount():
    return 1


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetUUID(card):
    return f"GPU-stand-in-{card}"


def nvmlDeviceGetName(card):
    return "Stand-in GPU"


def nvmlDeviceGetMemoryInfo(card):
    return SimpleNamespace(total=16 << 30, used=2 << 30)


def nvmlDeviceGetCudaComputeCapability(card):
    return 8, 0


def nvmlDeviceGetUtilizationRates(card):
    return SimpleNamespace(gpu=75)


def nvmlDeviceGetTemperature(card, sensor):
    return 60


def nvmlDeviceGetPowerUsage(card):
    return int(WATTS * 1000)


def nvmlDeviceGetTotalEnergyConsumption(card):
    return int((time.monotonic() - _began) * WATTS * 1000)
