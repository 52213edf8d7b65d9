"""The paper's claims, each with the test that it is put to and what a run needs to be tested."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from cloudmask.report import certificate_first_epoch as first_epoch
from cloudmask.report import certificate_published as from_paper
from cloudmask.report import certificate_tests as tests
from cloudmask.report.certificate_tests import Runs, Verdict
from cloudmask.report.paper_comparison import (
    DEVICE,
    PUBLIC,
    data_of,
    last_accuracy,
    protocol_differences,
    protocol_unknown,
)
from cloudmask.report.published_paper import Paper, paper
from cloudmask.report.runs import RecordedRun

Gate = Callable[[RecordedRun], str]


def same_data(run: RecordedRun) -> str:
    """Why the run's accuracy is not of the paper's scenes; "" if it is."""
    data = data_of(run)
    return "" if data.public else f"the paper's scenes are {PUBLIC}, of these runs: {data.text}"


def same_protocol(run: RecordedRun) -> str:
    """Why the run was not trained and stopped as the paper's; "" if it was."""
    if differences := protocol_differences(run):
        return f"other training: {'; '.join(differences)}"
    return "stopping rule not known" if protocol_unknown(run) else ""


def same_device(run: RecordedRun) -> str:
    """Why the run's times are not of the paper's hardware; "" if they are."""
    if run.device == DEVICE and (run.workers or 1) == 1:
        return ""
    return f"other hardware than one {DEVICE}"


def paper_runs(paper: Paper) -> Runs:
    """The five runs of table 4, with their curves."""
    return paper.runs


def paper_totals(paper: Paper) -> Runs:
    """The runs of Rivanna whose total times are published."""
    return paper.totals


@dataclass(frozen=True)
class Claim:
    """What the paper says, and how it is tested.

    source: where it says so; test: of runs, None where runs cannot decide it, for the reason
    `untestable`; needs: what a run must have in common with the paper's to count; of: the
    published runs that the same test is put to; published: what is asked of the published
    numbers instead.
    """

    name: str
    text: str
    source: str
    test: Callable[[Runs], Verdict] | None = None
    needs: tuple[Gate, ...] = ()
    of: Callable[[Paper], Runs] = paper_runs
    published: Callable[[Paper], Verdict] | None = None
    untestable: str = ""


def test_accuracy(run: RecordedRun) -> float | None:
    """Over all pixels of whole scenes."""
    return run.published_accuracy


def accuracy_gap(run: RecordedRun) -> float | None:
    """Training accuracy of the last epoch minus test accuracy."""
    training = last_accuracy(run)
    if training is None or run.published_accuracy is None:
        return None
    return training - run.published_accuracy


def highest_validation(run: RecordedRun) -> float | None:
    """The highest validation accuracy of any epoch."""
    return max(run.history.get("val_accuracy") or [], default=None)


def lowest_loss(run: RecordedRun) -> float | None:
    """The lowest validation loss of any epoch."""
    return min(run.history.get("val_loss") or [], default=None)


def epochs_run(run: RecordedRun) -> float | None:
    """Epochs that ran."""
    return run.epochs_run


def seconds_per_scene(run: RecordedRun) -> float | None:
    """Inference of one scene with reading and writing, which published times contain."""
    return run.test.seconds_per_scene_all


SCIENCE = (same_data, same_protocol)
# Validation accuracy, and the fewest and the most epochs in which the five runs reach it.
REACHED = ((0.85, 14, 17), (0.87, 21, 34), (0.88, 41, 54), (0.885, 41, 89), (0.89, 83, 134))
PUBLISHED = [run.published_accuracy or 0.0 for run in paper().runs]
SPREAD = round(max(PUBLISHED) - min(PUBLISHED), 4)  # of equal seeds, in table 4
BUMPY = 0.4  # fraction of epochs with a rising loss from which a curve is called bumpy
VARYING = 1.5  # longest over shortest time of equal runs from which they vary strongly
CONSTANT = 0.1  # by which times per epoch may differ and still be called the same

ACCURACY = (
    Claim(
        "accuracy-band",
        "The test accuracy of a run lies between 0.884 and 0.896.",
        "table 4",
        partial(tests.within, quantity=test_accuracy, low=0.884, high=0.896, digits=3),
        SCIENCE,
    ),
    Claim(
        "accuracy-mean",
        "The mean test accuracy is 0.889.",
        "results section",
        partial(tests.mean_is, quantity=test_accuracy, value=0.889, spread=SPREAD),
        SCIENCE,
    ),
    Claim(
        "accuracy-best",
        "No run has a test accuracy above 0.8961.",
        "table 4",
        partial(tests.below, quantity=test_accuracy, limit=0.89615),
        SCIENCE,
    ),
    Claim(
        "accuracy-target",
        "No run reaches the working group's target of 0.9 on the test scenes.",
        "table 4",
        partial(tests.below, quantity=test_accuracy, limit=0.9),
        SCIENCE,
    ),
    Claim(
        "accuracy-reference",
        "The reference implementation classifies 92 % of the test pixels correctly.",
        "related work",
        partial(tests.within, quantity=test_accuracy, low=0.915, high=0.925),
        SCIENCE,
    ),
    Claim(
        "accuracy-gap",
        "The last training accuracy is higher than the test accuracy by 0.007 to 0.013.",
        "table 4",
        partial(tests.within, quantity=accuracy_gap, low=0.007, high=0.013, digits=3),
        SCIENCE,
    ),
    Claim(
        "validation-band",
        "The highest validation accuracy lies between 0.8915 and 0.8978.",
        "figure 6",
        partial(tests.within, quantity=highest_validation, low=0.8915, high=0.8978),
        SCIENCE,
    ),
    Claim(
        "validation-never-0.90",
        "The validation accuracy never reaches 0.90.",
        "figure 6",
        partial(tests.below, quantity=highest_validation, limit=0.9),
        SCIENCE,
    ),
    Claim(
        "validation-loss-band",
        "The lowest validation loss lies between 0.2387 and 0.2550.",
        "figure 5",
        partial(tests.within, quantity=lowest_loss, low=0.2387, high=0.2550),
        SCIENCE,
    ),
    Claim(
        "seeds-accuracy",
        "Runs with the same seed differ in their test accuracy.",
        "section on random seeds, table 4",
        partial(tests.equal_seeds_differ, quantity=test_accuracy, digits=4),
    ),
    Claim(
        "seeds-epochs",
        "Runs with the same seed differ in their number of epochs.",
        "table 4",
        partial(tests.equal_seeds_differ, quantity=epochs_run, digits=0),
    ),
)

EPOCHS = tuple(
    Claim(
        f"epochs-to-{accuracy:g}",
        f"A validation accuracy of {accuracy:g} is reached after {low} to {high} epochs.",
        "figure 6",
        partial(tests.epochs_until, accuracy=accuracy, low=low, high=high),
        SCIENCE,
    )
    for accuracy, low, high in REACHED
)

STOPPING = (
    Claim(
        "stopping-epochs",
        "With a patience of 25 and at most 200 epochs a run has 147 to 200 epochs.",
        "table 4",
        partial(tests.within, quantity=epochs_run, low=147, high=200, digits=0),
        SCIENCE,
    ),
    Claim(
        "stopping-rule",
        "A run ends when the lowest validation loss is as many epochs ago as the patience has, or "
        "at its limit.",
        "results section, figure 5",
        tests.stops_by_rule,
    ),
    Claim(
        "all-stopped-early",
        "Early stopping ends every run.",
        "caption of figure 4",
        tests.all_stopped_early,
        (same_protocol,),
    ),
    Claim(
        "weights-of-last-epoch",
        "The weights that are saved are the best, at the last epoch of each run.",
        "caption of figure 4",
        tests.best_is_last,
    ),
    Claim(
        "best-epoch-147",
        "The best weights of run 2 are those of epoch 147.",
        "results section",
        published=from_paper.best_epoch_of_run_2,
        untestable="it is about one run of the paper",
    ),
    Claim(
        "run-2-least-loss",
        "Of the five runs, run 2 has the lowest training loss.",
        "results section, figure 4",
        published=from_paper.run_2_has_least_loss,
        untestable="it is about one run of the paper",
    ),
    Claim(
        "best-weights-against-last",
        "The best weights are better than the last: early stopping avoids overfitting.",
        "section on code modifications",
        tests.last_is_worse,
    ),
    Claim(
        "bumpy-loss",
        f"The validation loss is bumpy (it rises in {BUMPY:.0%} of the epochs or more).",
        "results section",
        partial(tests.bumpy, fraction=BUMPY),
    ),
    Claim(
        "shortest-is-best",
        "The run that stops first has the highest test accuracy.",
        "table 4",
        tests.shortest_is_best,
    ),
    *(
        Claim(
            f"patience-{patience}",
            f"With a patience of {patience} a run stops after {low} to {high} epochs.",
            "further published runs",
            partial(tests.patience_stops, patience=patience, low=low, high=high),
            (same_data,),
        )
        for patience, low, high in paper().rows("short_patience")
    ),
)

TIME = (
    Claim(
        "linear-in-epochs",
        "The training time is a fixed cost and a cost per epoch.",
        "totals of Rivanna",
        tests.linear_in_epochs,
        of=paper_totals,
    ),
    Claim(
        "first-epoch",
        "The first epoch costs more than the later ones, on Rivanna about "
        f"{first_epoch.RATIOS['A100']} of them on the A100 and {first_epoch.RATIOS['V100']} on the "
        "V100.",
        "totals of Rivanna",
        first_epoch.first_is_longest,
        published=first_epoch.first_of_totals,
    ),
    Claim(
        "a100-before-v100",
        "An epoch is shorter on an A100 than on a V100.",
        "totals of Rivanna",
        partial(tests.ordered, devices=("A100", "V100")),
        of=paper_totals,
    ),
    Claim(
        "k80-slowest",
        "The K80 is the slowest device.",
        "figure 9",
        partial(tests.slowest, device="K80"),
        published=from_paper.slowest_of_figure_9,
    ),
    Claim(
        "fastest-three",
        "The fastest are a DGX station, a desktop with fast NVMe, and a DGX node with local NVMe.",
        "figure 9",
        published=from_paper.fastest_three,
        untestable="it is about three machines of the paper",
    ),
    Claim(
        "shared-slower",
        "A shared file system slows training down, a local disk does not.",
        "results section, figure 9",
        tests.staged_is_faster,
        published=from_paper.shared_is_slower,
    ),
    Claim(
        "times-vary",
        f"Times of equal runs on shared machines vary strongly (by a factor of {VARYING:g}).",
        "results section, figure 9",
        partial(tests.repeats_vary, factor=VARYING),
        published=partial(from_paper.ranges_are_wide, factor=VARYING),
    ),
    Claim(
        "column-in-seconds",
        "The training times of table 4 are seconds per epoch.",
        "caption of table 4",
        published=from_paper.column_in_seconds,
        untestable="it is about a table of the paper",
    ),
    Claim(
        "column-in-minutes",
        "The training times of table 4 are minutes in total (another reading of the table).",
        "not in the paper",
        published=from_paper.column_in_minutes,
        untestable="it is about a table of the paper",
    ),
    Claim(
        "time-per-epoch-constant",
        f"The time per epoch is the same for runs of any length (to {CONSTANT:.0%}).",
        "table 4, if its times are those of an epoch",
        partial(tests.independent_of_epochs, tolerance=CONSTANT),
    ),
    Claim(
        "inference-seconds",
        "Inference takes 1.41 to 1.73 s per scene, reading and writing included.",
        "table 4",
        partial(tests.within, quantity=seconds_per_scene, low=1.41, high=1.73, digits=2),
        (same_data, same_device),
    ),
)

CLAIMS: tuple[Claim, ...] = (*ACCURACY, *EPOCHS, *STOPPING, *TIME)
