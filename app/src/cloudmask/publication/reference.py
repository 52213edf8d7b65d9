"""The published results that a submission is compared with, and the table of both."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from cloudmask.publication.eligibility import SubmittedRun
from cloudmask.report.published import published

MISSING = "-"  # where a figure is not known, or not published
NOT_COMPARABLE = "not comparable: other data"
HEADS = ("Measurement", "Reference model value", "Submitted model value", "Difference")


@dataclass(frozen=True)
class Reference:
    """The runs of the paper's results table: one setting, five repeats, on a V100."""

    source: str
    accuracies: tuple[float, ...]  # on the inference scenes, over all pixels
    training_accuracies: tuple[float, ...]
    seconds_per_scene: tuple[float, ...]
    epochs: tuple[int, ...]


@dataclass(frozen=True)
class Measurement:
    """A row of the table: means over the runs on either side; None where there is no figure."""

    name: str
    reference: float | None
    submitted: float | None
    digits: int = 4
    scientific: bool = True  # counts in the average difference

    @property
    def difference(self) -> float | None:
        """Submitted minus reference."""
        if self.reference is None or self.submitted is None:
            return None
        return self.submitted - self.reference


def reference() -> Reference:
    """The paper's runs, as `report/published.yaml` has them."""
    runs = [run for run in published() if run.origin == "paper"]
    evaluations = [run.evaluations[0] for run in runs]
    return Reference(
        source=runs[0].source,
        accuracies=tuple(e.accuracy for e in evaluations if e.accuracy is not None),
        training_accuracies=tuple(run.accuracy for run in runs if run.accuracy is not None),
        seconds_per_scene=tuple(
            e.seconds_per_scene for e in evaluations if e.seconds_per_scene is not None
        ),
        epochs=tuple(run.epochs_run for run in runs if run.epochs_run is not None),
    )


def measurements(runs: Sequence[SubmittedRun]) -> list[Measurement]:
    """What the benchmark measures, the published values and those of the runs."""
    paper = reference()
    return [
        Measurement(
            "accuracy on the inference scenes, all pixels (the published fashion)",
            _mean(paper.accuracies),
            all_pixels(runs),
        ),
        Measurement(
            "accuracy on the inference scenes, measured pixels",
            None,
            _mean([run.accuracy for run in runs]),
        ),
        Measurement(
            "accuracy on the training patches, last epoch",
            _mean(paper.training_accuracies),
            _mean([_last_accuracy(run) for run in runs]),
        ),
        Measurement(
            "epochs run",
            _mean(paper.epochs),
            _mean([run.training.epochs_run for run in runs]),
            digits=1,
            scientific=False,
        ),
        Measurement(
            "inference of a scene with reading and writing (s)",
            _mean(paper.seconds_per_scene),
            _mean([run.inference.seconds_per_scene_all for run in runs]),
            digits=3,
            scientific=False,
        ),
    ]


def table(runs: Sequence[SubmittedRun], other_data: str | None) -> list[tuple[str, ...]]:
    """The rows below HEADS as text; over other data than the published, nothing is compared."""
    found = measurements(runs)
    rows = [
        (
            row.name,
            number(row.reference, row.digits),
            number(row.submitted, row.digits),
            NOT_COMPARABLE if other_data else number(row.difference, row.digits, sign=True),
        )
        for row in found
    ]
    differences = [row.difference for row in found if row.scientific]
    average = None if other_data else _mean(differences)
    last = NOT_COMPARABLE if other_data else number(average, 4, sign=True)
    return [*rows, ("average difference of the accuracies", "", "", last)]


def comparison(runs: Sequence[SubmittedRun], other_data: str | None) -> str:
    """A sentence that lays the accuracy of the runs beside the published one."""
    paper = reference()
    low, high = min(paper.accuracies), max(paper.accuracies)
    published = (
        f"The published runs of the benchmark ({paper.source}, V100) reached {low:.3f} to "
        f"{high:.3f} on the {len(paper.accuracies)} repeats of their setting, over all pixels of "
        "the 100 inference scenes"
    )
    if other_data:
        return (
            f"{published}. The runs submitted here were judged on other data ({other_data}), so "
            "that their accuracy cannot be compared with those."
        )
    mean = all_pixels(runs)
    if mean is None:
        return f"{published}; the runs submitted here did not record the same figure."
    where = "within" if low <= mean <= high else "below" if mean < low else "above"
    return f"{published}; the runs submitted here reach {mean:.4f}, {where} that range."


def all_pixels(runs: Sequence[SubmittedRun]) -> float | None:
    """Mean accuracy over all pixels of the inference scenes, as the paper and the target count."""
    return _mean([run.inference.accuracy_all_pixels for run in runs])


def declared_data(run: SubmittedRun, other_data: str) -> str:
    """A sentence on data that are not the benchmark's: as declared, and as recorded."""
    recorded = run.inference.data
    scenes = recorded.text() if recorded else "nothing"
    return (
        f"Data other than the benchmark's: {other_data}. Recorded of the evaluated scenes: "
        f"{scenes}."
    )


def number(value: float | None, digits: int, sign: bool = False) -> str:
    """The value with that many decimals."""
    return MISSING if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def _last_accuracy(run: SubmittedRun) -> float | None:
    """Training accuracy of the last epoch, as published; a result's own is of the kept epoch."""
    history = run.directory.read_history()
    return history[-1].accuracy if history else None


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else None
