"""The GPUs of this process, by whichever vendor's library finds some."""

from typing import Protocol

from cloudmask.hardware.amd_gpus import AmdGpus
from cloudmask.hardware.gpus import GpuCard, Gpus, Reading


class GpuLibrary(Protocol):
    """The visible GPUs of one vendor; `notes` explain why there are none.

    library: its name, for the record. driver: the version of the driver, None where there is none.
    """

    library: str
    cards: list[GpuCard]
    driver: str | None
    notes: list[str]

    def read(self, index: int) -> Reading:
        """Read the `index`-th visible card; never raises."""

    def close(self) -> None:
        """Shut the library down."""


def open_gpus() -> GpuLibrary:
    """NVIDIA's GPUs, else AMD's, else none: then with the notes of both."""
    nvidia = Gpus()
    if nvidia.cards:
        return nvidia
    amd = AmdGpus()
    if amd.cards:
        nvidia.close()
        return amd
    amd.close()
    nvidia.notes += amd.notes
    return nvidia
