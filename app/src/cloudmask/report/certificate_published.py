"""Verdicts on claims that the paper's own figures and tables decide, without any run."""

import statistics

from cloudmask.report.certificate_tests import Verdict, described, judged, untestable
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
    """The bars of figure 9 by storage, with their ranges: no two differ in their storage alone."""
    numbers = ", ".join(
        f"{storage} {min(ends):g} to {max(ends):g} s"
        for storage in ("shared", "local")
        if (ends := _ends(paper, storage))
    )
    return untestable("the machines differ in more than their storage", numbers)


def _ends(paper: Paper, storage: str) -> list[float]:
    """Seconds of the bars with that storage, and the ends of their ranges."""
    bars = [bar for bar in paper.one_epoch if bar.storage == storage]
    return [end for bar in bars for end in (bar.seconds, bar.low, bar.high) if end is not None]


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
    """Table 4's times as seconds per epoch beside Greene's figure; and read as minutes in total."""
    values = [run.seconds_per_epoch for run in paper.runs if run.seconds_per_epoch]
    minutes = [
        MINUTE * run.seconds_per_epoch / run.epochs_run
        for run in paper.runs
        if run.seconds_per_epoch and run.epochs_run
    ]
    epochs, seconds = max(paper.greene)
    numbers = (
        f"s per epoch, {described(values, 1)}; read as minutes in total, {described(minutes, 1)}; "
        f"Greene {seconds:g} at {epochs} epochs"
    )
    reason = (
        "the authors use the same words for seconds per epoch there; that the column grows with "
        "the number of epochs stays unexplained, which only minutes in total would explain"
    )
    apart = [abs(statistics.fmean(reading) / seconds - 1) for reading in (values, minutes)]
    return judged(apart[0] <= NEAR < apart[1], numbers, reason)
