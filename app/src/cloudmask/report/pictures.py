"""The best and the worst scenes of the best run, from the pictures that its evaluation left."""

import io
from pathlib import Path
from typing import NamedTuple

from cloudmask.report.collection import Collection
from cloudmask.report.runs import RecordedRun

EACH = 2
WIDTH = 1000  # pixels; JPEG of this width has about 100 KB


class Picture(NamedTuple):
    """One scene: `file` to write it under, its caption, and the picture itself."""

    file: str
    caption: str
    source: Path

    def jpeg(self) -> bytes:
        """The picture, thinned to WIDTH."""
        from PIL import Image

        with Image.open(self.source) as image:
            height = round(image.height * WIDTH / image.width)
            small = image.convert("RGB")
            if image.width > WIDTH:
                small = small.resize((WIDTH, height), Image.Resampling.LANCZOS)
        content = io.BytesIO()
        small.save(content, "JPEG", quality=82)
        return content.getvalue()


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
        (accuracy, folder / f"{name}.png")
        for name, accuracy in evaluation.per_scene.items()
        if (folder / f"{name}.png").is_file()
    )
    each = min(EACH, len(drawn) // 2) if len(drawn) > 1 else len(drawn)
    worst, best = drawn[:each], drawn[len(drawn) - each :][::-1] if len(drawn) > 1 else []
    return [
        *(_picture(run, "worst", k, entry) for k, entry in enumerate(worst, 1)),
        *(_picture(run, "best", k, entry) for k, entry in enumerate(best, 1)),
    ]


def _picture(run: RecordedRun, kind: str, rank: int, entry: tuple[float, Path]) -> Picture:
    accuracy, path = entry
    which = kind if rank == 1 else f"{kind}, number {rank}"
    caption = f"{which.capitalize()} scene of {run.name}: {accuracy:.1%} as the mask. {path.stem}"
    return Picture(f"{kind}-{rank}.jpg", caption, path)
