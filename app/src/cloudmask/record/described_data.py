"""Which scenes a training or an evaluation used, as its result tells it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pydantic import Field

from cloudmask.record.section import Section
from cloudmask.scenes import dataset, product_name
from cloudmask.scenes.origin import PRODUCT, SYNTHETIC, UNKNOWN
from cloudmask.system.text import plural


class DataDescription(Section):
    """Which scenes: of what origin, of which months, under one checksum."""

    scenes: int = Field(description="scenes")
    origins: dict[str, int] = Field(
        {},
        description="how many are of which origin: synthetic, SLSTR product, cloud_slstr_ds1 (by "
        "layout and name), unknown, or what the files say of themselves",
    )
    months: dict[str, int] = Field({}, description="how many are of which month, such as 2019-10")
    sha256: str | None = Field(
        None,
        description="of the scenes' names in order, each with the checksum of its file where it is "
        "known (patches)",
    )
    seen_in_training: int | None = Field(
        None,
        description="of evaluated scenes: how many are pieces of the swath that the patch store "
        "holds as well, under whatever name; null where the patch store is not at hand",
    )

    @property
    def of_data_set(self) -> bool:
        """Whether all are of the public data set."""
        return self.origins == {dataset.NAME: self.scenes}

    @property
    def of_benchmark(self) -> bool:
        """Whether these are the benchmark's inference scenes, by origin, count and month."""
        months = {dataset.INFERENCE_MONTH: dataset.INFERENCE_SCENES}
        return self.of_data_set and self.months == months

    def text(self) -> str:
        """In words, such as "12 synthetic scenes"."""
        if len(self.origins) == 1:
            ((origin, _),) = self.origins.items()
            return _scenes_of(self.scenes, origin)
        parts = (_scenes_of(count, origin) for origin, count in sorted(self.origins.items()))
        return ", ".join(parts) or _scenes_of(self.scenes, UNKNOWN)


def _scenes_of(count: int, origin: str) -> str:
    scenes = plural(count, "scene")
    if origin == SYNTHETIC:
        return plural(count, "synthetic scene")
    if origin == PRODUCT:
        return plural(count, "SLSTR product")
    return f"{scenes} of unknown origin" if origin == UNKNOWN else f"{scenes} of {origin}"


@dataclass(frozen=True)
class UsedScene:
    """A scene by its name, with the checksum of its file where it is known."""

    name: str
    sha256: str | None = None

    @property
    def granule(self) -> str | tuple[str, str, str]:
        """What it shows, under whatever name: platform, start and stop, or else its name."""
        parts = product_name.parse(self.name)
        if parts is None:
            return self.name
        return parts.granule.platform, parts.granule.start, parts.granule.stop

    @property
    def month(self) -> str | None:
        """Such as 2019-10, None where the name does not tell."""
        parts = product_name.parse(self.name)
        return product_name.iso_time(parts.granule.start)[:7] or None if parts else None


def describe(
    scenes: Iterable[UsedScene],
    origins: Mapping[str, int],
    trained_on: Iterable[UsedScene] | None = None,
) -> DataDescription:
    """Describe scenes; `trained_on`: those of the patch store, if the scenes are evaluated."""
    used = sorted(scenes, key=lambda scene: (scene.name, scene.sha256 or ""))
    listed = json.dumps([[scene.name, scene.sha256] for scene in used])
    months = Counter(month for scene in used if (month := scene.month))
    seen = None
    if trained_on is not None:
        known = {scene.granule for scene in trained_on}
        seen = sum(scene.granule in known for scene in used)
    return DataDescription(
        scenes=len(used),
        origins=dict(sorted(origins.items())),
        months=dict(sorted(months.items())),
        sha256=hashlib.sha256(listed.encode(errors="replace")).hexdigest(),
        seen_in_training=seen,
    )
