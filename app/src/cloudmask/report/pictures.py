"""The best and the worst scenes of the best run, from the pictures that its evaluation left."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cloudmask.report.collection import Collection
from cloudmask.system import reading

if TYPE_CHECKING:
    from PIL import Image

EACH = 2
MOST_PIXELS = 50_000_000  # a file of some bytes can claim more than the memory holds
WIDTH = 1000  # pixels; JPEG of this width has about 100 KB


class Picture(NamedTuple):
    """One scene: `file` to write it under, its caption, and the picture itself as JPEG.

    full: the same in full size, for `full_file`.
    """

    file: str
    caption: str
    jpeg: bytes
    full: bytes

    @property
    def full_file(self) -> str:
        """Name of the file in full size."""
        return self.file.replace(".jpg", "-full.jpg")


def pictures(found: Collection) -> list[Picture]:
    """The worst scenes, then the best ones; [] where no evaluation has pictures."""
    candidates = [
        (evaluation.accuracy, run, evaluation, evaluation.pictures)
        for run in found.runs
        for evaluation in run.evaluations
        if evaluation.pictures and evaluation.accuracy is not None and not run.set_aside
    ]
    if not candidates:
        return []
    _, run, evaluation, folder = max(candidates, key=lambda candidate: candidate[0])
    drawn = sorted(
        (accuracy, path)
        for name, accuracy in evaluation.per_scene.items()
        # A scene's name comes out of a file, and must not lead out of the folder.
        if "/" not in name and (path := folder / f"{name}.png").is_file()
    )
    each = min(EACH, len(drawn) // 2) if len(drawn) > 1 else len(drawn)
    worst, best = drawn[:each], drawn[len(drawn) - each :][::-1] if len(drawn) > 1 else []
    whose = f"{run.name} ({evaluation.tested_on})"
    found_pictures = [
        *(_picture(whose, "worst", k, entry) for k, entry in enumerate(worst, 1)),
        *(_picture(whose, "best", k, entry) for k, entry in enumerate(best, 1)),
    ]
    return [picture for picture in found_pictures if picture]


def _picture(whose: str, kind: str, rank: int, entry: tuple[float, Path]) -> Picture | None:
    """The picture of a scene; None if it is damaged, since a report can do without."""
    accuracy, path = entry
    try:
        small, full = _jpegs(path)
    except MemoryError:
        raise
    except Exception:  # Whatever a decoder raises of bytes that are no picture.
        return None
    which = kind if rank == 1 else f"{kind}, number {rank}"
    caption = f"{which.capitalize()} scene of {whose}: pixel accuracy {accuracy:.1%}. {path.stem}"
    return Picture(f"{kind}-{rank}.jpg", caption, small, full)


def _jpegs(path: Path) -> tuple[bytes, bytes]:
    """The picture thinned to WIDTH, and in full size."""
    from PIL import Image

    with reading.opened(path) as file, Image.open(file, formats=("PNG",)) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("too large")
        full = image.convert("RGB")
    small = full
    if full.width > WIDTH:
        height = round(full.height * WIDTH / full.width)
        small = full.resize((WIDTH, height), Image.Resampling.LANCZOS)
    return _encoded(small, 82), _encoded(full, 92)


def _encoded(image: "Image.Image", quality: int) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return content.getvalue()
