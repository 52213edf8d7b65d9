"""Verdicts on claims that the paper's own figures and tables decide, without any run."""

import statistics

from cloudmask.report.certificate_tests import Verdict, described, judged
from cloudmask.report.published_paper import Paper

MINUTE = 60
NEAR = 0.25  # of Greene's time per epoch, within which a reading of table 4 agrees with it
HIGHLIGHTED = 1  # index of run 2


def best_epoch_of_run_2(paper: Paper) -> Verdict:
    """The epoch of the lowest validation loss of run 2 against its last."""
    run = paper.runs[HIGHLIGHTED]
    numbers = (
        f"lowest validation loss {run.val_loss:.4f} at epoch {run.best_epoch}; "
        f"{run.epochs_run} is the last epoch, with {run.history['val_loss'][-1]:.4f}"
    )
    return judged(run.best_epoch == run.epochs_run, numbers)


def run_2_has_least_loss(paper: Paper) -> Verdict:
    """The last training losses of the five runs."""
    last = [run.history["loss"][-1] for run in paper.runs]
    numbers = ", ".join(f"run {k}: {value:.4f}" for k, value in enumerate(last, 1))
    return judged(min(last) == last[HIGHLIGHTED], f"last training loss {numbers}")


def fastest_three(paper: Paper) -> Verdict:
    """The order of figure 9: DGX station, desktop, DGX node."""
    first = sorted(paper.one_epoch, key=lambda bar: bar.seconds)[:3]
    numbers = ", ".join(f"{bar.machine} {bar.host} {bar.seconds:g} s" for bar in first)
    hosts = [bar.host for bar in first]
    return judged(hosts == ["DGX station", "desktop", "Rivanna"], numbers)


def slowest_of_figure_9(paper: Paper) -> Verdict:
    """Which bar of figure 9 is the longest."""
    last = sorted(paper.one_epoch, key=lambda bar: -bar.seconds)[:2]
    numbers = ", ".join(f"{bar.machine} {bar.host} {bar.seconds:g} s" for bar in last)
    return judged(last[0].machine == "K80", numbers)


def shared_is_slower(paper: Paper) -> Verdict:
    """The fastest machine with a shared file system against the slowest with a local disk."""
    seconds = {
        storage: [bar.seconds for bar in paper.one_epoch if bar.storage == storage]
        for storage in ("shared", "local")
    }
    shared, local = min(seconds["shared"]), max(seconds["local"])
    numbers = f"shared {shared:g} s or more, local {local:g} s or less"
    reason = "the machines differ in more than their storage"
    return judged(shared > local, numbers, reason)


def ranges_are_wide(paper: Paper, factor: float) -> Verdict:
    """The widest range of a bar of figure 9."""
    ranges = [
        (bar.high / bar.low, f"{bar.machine} {bar.host} {bar.low:g} to {bar.high:g} s")
        for bar in paper.one_epoch
        if bar.low and bar.high
    ]
    ratio, text = max(ranges)
    return judged(ratio >= factor, f"{text}, factor {ratio:.1f}")


def column_in_seconds(paper: Paper) -> Verdict:
    """Table 4's times read as seconds per epoch, beside Greene's figure."""
    values = [run.seconds_per_epoch for run in paper.runs if run.seconds_per_epoch]
    reason = (
        "the authors use the same words for seconds per epoch there; that the column grows with "
        "the number of epochs stays unexplained"
    )
    return _beside_greene(paper, values, reason)


def column_in_minutes(paper: Paper) -> Verdict:
    """Table 4's times read as minutes in total, as seconds per epoch beside Greene's figure."""
    values = [
        MINUTE * run.seconds_per_epoch / run.epochs_run
        for run in paper.runs
        if run.seconds_per_epoch and run.epochs_run
    ]
    return _beside_greene(paper, values, "it alone would explain why the column grows")


def _beside_greene(paper: Paper, values: list[float], reason: str) -> Verdict:
    epochs, seconds = max(paper.greene)
    numbers = f"s per epoch, {described(values, 1)}; Greene {seconds:g} at {epochs} epochs"
    near = abs(statistics.fmean(values) / seconds - 1) <= NEAR
    return judged(near, numbers, reason)
