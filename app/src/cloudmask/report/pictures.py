"""The best and the worst scenes of the best run, from the pictures that its evaluation left."""

import io
from pathlib import Path
from typing import NamedTuple

from cloudmask.report.collection import Collection
from cloudmask.report.runs import RecordedEvaluation, RecordedRun

EACH = 2
WIDTH = 1000  # pixels; JPEG of this width has about 100 KB


class Picture(NamedTuple):
    """One scene: `file` to write it under, what to say of it, and the picture itself."""

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
        (run, evaluation)
        for run in found.runs
        for evaluation in run.evaluations
        if evaluation.pictures and evaluation.accuracy is not None and not run.set_aside
    ]
    if not candidates:
        return []
    run, evaluation = max(candidates, key=lambda pair: pair[1].accuracy)
    drawn = [
        (accuracy, name)
        for name, accuracy in evaluation.per_scene.items()
        if (evaluation.pictures / f"{name}.png").is_file()
    ]
    drawn.sort()
    each = min(EACH, len(drawn) // 2) if len(drawn) > 1 else len(drawn)
    worst, best = drawn[:each], drawn[len(drawn) - each :][::-1] if len(drawn) > 1 else []
    return [
        *(_picture(run, evaluation, "worst", k, entry) for k, entry in enumerate(worst, 1)),
        *(_picture(run, evaluation, "best", k, entry) for k, entry in enumerate(best, 1)),
    ]


def _picture(
    run: RecordedRun, evaluation: RecordedEvaluation, kind: str, rank: int, entry: tuple[float, str]
) -> Picture:
    accuracy, name = entry
    place = kind if rank == 1 else f"{kind}, number {rank}"
    caption = f"{place.capitalize()} scene of {run.name}: {accuracy:.1%} as the mask. {name}"
    return Picture(f"{kind}-{rank}.jpg", caption, evaluation.pictures / f"{name}.png")
