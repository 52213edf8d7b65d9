"""Early stopping replayed on the validation losses of a run, and epochs to an accuracy."""

from collections.abc import Sequence

from cloudmask.report.runs import RecordedRun


def stop_epochs(losses: Sequence[float]) -> dict[int, int]:
    """By patience the epoch after which a run of these losses stops; none where it goes on.

    As Keras' EarlyStopping with min_delta 0: after `patience` epochs in a row that are not better
    than the best before.
    """
    stops: dict[int, int] = {}
    best, waited = float("inf"), 0
    for epoch, loss in enumerate(losses, 1):
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited:
            stops.setdefault(waited, epoch)
    return stops


def best_epoch(run: RecordedRun) -> int | None:
    """The epoch of the lowest validation loss, the first of equal ones."""
    losses = run.history.get("val_loss")
    return losses.index(min(losses)) + 1 if losses else None


def epochs_to(run: RecordedRun, accuracy: float) -> int | None:
    """The first epoch whose validation accuracy is `accuracy` or more; None if none is."""
    values = run.history.get("val_accuracy") or []
    return next((epoch for epoch, value in enumerate(values, 1) if value >= accuracy), None)
