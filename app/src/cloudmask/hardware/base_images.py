"""Which base image serves which GPU, by the table base_images.yaml."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from cloudmask.config.yaml_model import Section, load_model
from cloudmask.errors import InputError

TABLE = Path(__file__).with_name("base_images.yaml")
# Cards that are not for data centers: drivers are not promised to serve a newer CUDA there.
WORKSTATION = re.compile(r"GeForce|Quadro|TITAN|RTX", re.IGNORECASE)

Version = tuple[int, ...]


class BaseImage(Section):
    """An image to build on; its key in the table is its name."""

    name: str = Field(description="the key in the table")
    bootstrap: str = Field(description="how Apptainer gets it: docker, debootstrap, …")
    address: str = Field(alias="from", description="where it is, without the bootstrap")
    tensorflow: str = Field(description="its version of TensorFlow")
    python: str = Field(description="its version of Python")
    cuda: str | None = Field(description="its version of CUDA; null: it serves the CPU only")
    driver: str | None = Field(description="lowest NVIDIA driver; null: none is needed")
    driver_branches: list[str] = Field(
        description="older long-term drivers that also serve, on data-center GPUs only"
    )
    capabilities: list[str] = Field(
        description="compute capabilities that its TensorFlow is compiled for"
    )
    space_gb: int = Field(ge=0, description="free space that a build takes, a rough figure")
    unverified: list[str] = Field(description="what nobody could confirm at its source")
    sources: dict[str, str] = Field(min_length=1, description="where each fact comes from")

    def driver_fits(self, driver: str, data_center: bool) -> bool:
        """Whether a driver, such as "535.104.05", is new enough for the base's CUDA."""
        if self.driver is None or version(driver) >= version(self.driver):
            return True
        branches = self.driver_branches if data_center else ()
        return any(
            version(branch)[0] == version(driver)[0] and version(driver) >= version(branch)
            for branch in branches
        )

    def drivers(self, data_center: bool) -> str:
        """The drivers that fit, for people."""
        others = self.driver_branches if data_center else ()
        return " or ".join([f"{self.driver} or newer", *(f"{b} of its branch" for b in others)])

    def runs_on(self, capability: str) -> bool:
        """Whether the base's TensorFlow, by the table, runs on a compute capability."""
        return compiled_for([f"sm_{c.replace('.', '')}" for c in self.capabilities], capability)


class GpuModel(Section):
    """A kind of GPU; its key in the table is what `make image GPU=…` takes."""

    name: str = Field(description="the key in the table")
    name_has: list[str] = Field(description="parts of the name that the driver gives it")
    capability: str = Field(description="its compute capability")
    base: str = Field(description="the base image to build on")
    precision: str = Field(description="what precision: auto takes on it")
    data_center: bool = Field(description="whether it is a data-center GPU")


class BaseImages(Section):
    """The whole table."""

    default: str = Field(description="the base image where neither one nor a GPU is named")
    bases: dict[str, BaseImage] = Field(description="base images by name")
    gpus: dict[str, GpuModel] = Field(description="kinds of GPUs by name; the first match counts")

    @model_validator(mode="before")
    @classmethod
    def _name_entries(cls, table: Any) -> Any:
        named = dict(table)
        for part in ("bases", "gpus"):
            entries = table.get(part)
            if isinstance(entries, Mapping):
                named[part] = {
                    name: {"name": name, **entry} if isinstance(entry, Mapping) else entry
                    for name, entry in entries.items()
                }
        return named

    @model_validator(mode="after")
    def _refer_to_bases(self) -> "BaseImages":
        for name in (self.default, *(gpu.base for gpu in self.gpus.values())):
            if name not in self.bases:
                raise ValueError(f"{name}: no such base; expected one of {', '.join(self.bases)}")
        return self

    def choose(self, base: str = "", gpu: str = "") -> BaseImage:
        """The base of that name, or for that GPU, or the default; raises InputError."""
        if base and gpu:
            raise InputError(f"BASE={base} and GPU={gpu}: expected one of the two")
        if gpu and gpu.lower() not in self.gpus:
            raise InputError(f"GPU={gpu}: not known; expected one of {', '.join(self.gpus)}")
        name = base or (self.gpus[gpu.lower()].base if gpu else self.default)
        if name not in self.bases:
            raise InputError(f"BASE={name}: not known; expected one of {', '.join(self.bases)}")
        return self.bases[name]

    def card(self, name: str) -> GpuModel | None:
        """The entry of a card by the name that the driver gives it, None if there is none."""
        found = (g for g in self.gpus.values() if any(part in name for part in g.name_has))
        return next(found, None)

    def data_center(self, name: str) -> bool:
        """Whether a card, by its name, is one for data centers."""
        card = self.card(name)
        return card.data_center if card else not WORKSTATION.search(name)

    def advice(self, name: str, capability: str, driver: str | None) -> str:
        """Which image to take for a card of this name, capability and driver, and how to get it."""
        card, data_center = self.card(name), self.data_center(name)
        recommended = [self.bases[card.base]] if card else []
        for base in [*recommended, self.bases[self.default], *self.bases.values()]:
            fits = driver is None or base.driver_fits(driver, data_center)
            if base.runs_on(capability) and fits:
                if card and base.name == card.base:
                    return f"take the image of: make image GPU={card.name} (base {base.name})"
                return f"take the image of: make image BASE={base.name}"
        if not any(base.runs_on(capability) for base in self.bases.values()):
            return "no known base runs on such a card; on the CPU: make image BASE=cpu"
        return "no known base works with this driver; ask for a newer one, or take BASE=cpu"


def version(text: str) -> Version:
    """The leading numbers of a version: "535.104.05" is (535, 104, 5)."""
    return tuple(int(part) for part in re.findall(r"\d+", text)) or (0,)


def compiled_for(compiled: Sequence[str], capability: str) -> bool:
    """Whether code for `compiled` ("sm_70", "compute_90", …) runs on a capability such as "7.5".

    Machine code (sm) runs on the same major version from its minor version on; intermediate code
    (compute) is compiled by the driver for anything newer.
    """
    card = version(capability)
    for entry in compiled:
        kind, _, digits = entry.partition("_")
        digits = re.sub(r"\D", "", digits)
        built = (int(digits[:-1] or 0), int(digits[-1:] or 0))
        if kind == "compute" and card >= built:
            return True
        if kind == "sm" and card[0] == built[0] and card >= built:
            return True
    return False


@cache
def read_base_images(path: Path = TABLE) -> BaseImages:
    """Read the table; raises InputError that lists every wrong entry."""
    return load_model(path, BaseImages)
