"""Which base image serves which GPU: the table base_images.yaml, read and asked."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from cloudmask.errors import InputError

TABLE = Path(__file__).with_name("base_images.yaml")
# Cards that are not for data centres: drivers are not promised to serve a newer CUDA there.
WORKSTATION = re.compile(r"GeForce|Quadro|TITAN|RTX", re.IGNORECASE)

Version = tuple[int, ...]


@dataclass(frozen=True)
class Base:
    """An image to build on. `cuda` and `driver` are None for a CPU."""

    name: str
    bootstrap: str
    address: str
    tensorflow: str
    python: str
    cuda: str | None
    driver: str | None
    driver_branches: tuple[str, ...]
    capabilities: tuple[str, ...]
    space_gb: int
    unverified: tuple[str, ...]

    def driver_fits(self, driver: str, data_centre: bool) -> bool:
        """Whether a driver, such as "535.104.05", is new enough for the base's CUDA."""
        if self.driver is None or version(driver) >= version(self.driver):
            return True
        branches = self.driver_branches if data_centre else ()
        return any(
            version(branch)[0] == version(driver)[0] and version(driver) >= version(branch)
            for branch in branches
        )

    def drivers(self, data_centre: bool) -> str:
        """The drivers that fit, in words."""
        others = self.driver_branches if data_centre else ()
        return " or ".join([f"{self.driver} or newer", *(f"{b} of its branch" for b in others)])

    def runs_on(self, capability: str) -> bool:
        """Whether the base's TensorFlow, by the table, runs on a compute capability."""
        return compiled_for([f"sm_{c.replace('.', '')}" for c in self.capabilities], capability)


@dataclass(frozen=True)
class Gpu:
    """A kind of card. `name` is what `make image GPU=name` takes."""

    name: str
    name_has: tuple[str, ...]
    capability: str
    base: str
    precision: str
    data_centre: bool


@dataclass(frozen=True)
class Bases:
    """The whole table."""

    default: str
    bases: dict[str, Base]
    gpus: dict[str, Gpu]

    def choose(self, base: str = "", gpu: str = "") -> Base:
        """The base of that name, or for that GPU, or the default; raises InputError."""
        if base and gpu:
            raise InputError(f"BASE={base} and GPU={gpu}: expected one of the two")
        if gpu and gpu.lower() not in self.gpus:
            raise InputError(f"GPU={gpu}: not known; expected one of {', '.join(self.gpus)}")
        name = base or (self.gpus[gpu.lower()].base if gpu else self.default)
        if name not in self.bases:
            raise InputError(f"BASE={name}: not known; expected one of {', '.join(self.bases)}")
        return self.bases[name]

    def card(self, name: str) -> Gpu | None:
        """The entry of a card by the name that the driver gives it, None if there is none."""
        found = (g for g in self.gpus.values() if any(part in name for part in g.name_has))
        return next(found, None)

    def data_centre(self, name: str) -> bool:
        """Whether a card, by its name, is one for data centres."""
        card = self.card(name)
        return card.data_centre if card else not WORKSTATION.search(name)

    def advice(self, name: str, capability: str, driver: str | None) -> str:
        """Which image to take for a card of this name, capability and driver, and how to get it."""
        card, data_centre = self.card(name), self.data_centre(name)
        wanted = [self.bases[card.base]] if card else []
        for base in [*wanted, self.bases[self.default], *self.bases.values()]:
            fits = driver is None or base.driver_fits(driver, data_centre)
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


def compiled_for(compiled: list[str], capability: str) -> bool:
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
def read_bases(path: Path = TABLE) -> Bases:
    """Read the table; raises KeyError or TypeError if an entry is not complete."""
    table = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    bases, gpus = {}, {}
    for name, entry in table["bases"].items():
        entry = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
        if not entry.pop("sources"):
            raise KeyError(f"{name}: no sources")
        bases[name] = Base(name=name, address=entry.pop("from"), **entry)
    for name, entry in table["gpus"].items():
        gpus[name] = Gpu(name=name, **entry | {"name_has": tuple(entry["name_has"])})
    return Bases(table["default"], bases, gpus)
