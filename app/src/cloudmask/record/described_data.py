"""Which scenes a training or an evaluation used, as its result tells it."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cloudmask.record.result import DataDescription
from cloudmask.scenes import product_name


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
