"""The report's tables: runs, groups, comparisons, evaluations, scenes, and those of time."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cloudmask.record.result import BENCHMARK_LABELS
from cloudmask.report.collection import Collection
from cloudmask.report.comparison import comparisons
from cloudmask.report.hpc import hpc_table
from cloudmask.report.runs import RecordedRun
from cloudmask.report.statistics import LEVEL, WITHOUT_SCIPY, available
from cloudmask.report.table import Column, Row, Table
from cloudmask.report.timing import PARTS
from cloudmask.report.timing_tables import fits_table, scaling_table, targets_table, times_table
from cloudmask.scenes.slstr import LABEL_NAMES
from cloudmask.system.text import one_line, plural

IMPERFECT = (
    "The Bayesian mask is itself an imperfect reference (skill 0.28 against lidar at the poles)."
)

ALL_PIXELS = "test acc., all pixels"
PUBLISHED_FASHION = (
    "Test accuracies of own runs are over measured pixels, those of published runs over all pixels."
)

RUN_COLUMNS = (
    Column("run", "run", link="folder"),
    Column("source", "source"),
    Column("epochs_run", "epochs", 0),
    Column("seed", "seed"),
    Column("train_accuracy", "train acc.", 4),
    Column("validation_accuracy", "val. acc.", 4),
    Column("test_accuracy", "test acc.", 4),
    Column("published_accuracy", ALL_PIXELS, 4, shown=False),
    Column("test_data", "tested on"),
    Column("seconds_per_epoch", "avg. train time (s/epoch)", 2),
    Column("seconds_per_scene", "avg. inference time (s/scene)", 2),
    Column("device", "device"),
    Column("workers", "workers", 0),
    Column("machine", "machine"),
    Column("group", "group", shown=False),
    Column("epochs_set", "epochs set", 0, shown=False),
    Column("best_epoch", "best epoch", 0, shown=False),
    Column("stopped_early", "stopped early", shown=False),
    Column("early_stopping", "early stopping", shown=False),
    Column("precision", "precision", shown=False),
    Column("tiling", "tiling", shown=False),
    Column("skill", "skill", 4, shown=False),
    Column("validation_loss", "val. loss", 4, shown=False),
    *(Column(f"seconds_{part}", head, 1, shown=False) for part, head in PARTS.items()),
    Column("patches_per_second", "patches/s", 1, shown=False),
    Column("data_wait_fraction", "waiting for data", 4, shown=False),
    Column("joules", "J", 0, shown=False),
    Column("attempts", "attempts", 0, shown=False),
    Column("set_aside", "set aside", shown=False),
    Column("code", "code", shown=False),
    Column("data", "data", shown=False),
    Column("training_data", "trained on", shown=False),
    Column("path", "read from", shown=False),
)


def runs_table(found: Collection) -> Table:
    """One row per run, in the columns of the paper's results table and more in the CSV file."""
    labels = {id(run): group.label for group in found.groups for run in group.runs}
    rows = [_run_row(run, labels.get(id(run))) for run in found.runs]
    note = (
        "Columns of the paper's table. Times per epoch are over the epochs that ran, validation "
        "included; times per scene are the network alone in own runs, with reading and writing in "
        "the published ones."
    )
    return Table("runs", "Runs", RUN_COLUMNS, rows, note if rows else "No run is finished.")


def _run_row(run: RecordedRun, label: str | None) -> dict:
    return {
        "run": run.name,
        "source": run.source,
        "epochs_run": run.epochs_run,
        "seed": run.seed,
        "train_accuracy": run.accuracy,
        "validation_accuracy": run.val_accuracy,
        "test_accuracy": run.test_accuracy,
        "published_accuracy": run.published_accuracy,
        "test_data": None if run.test_accuracy is None else run.test.tested_on,
        "training_data": run.trained_on,
        "seconds_per_epoch": run.seconds_per_epoch,
        "seconds_per_scene": run.test.seconds_per_scene,
        "device": run.device,
        "workers": run.workers,
        "machine": run.machine,
        "group": label,
        "epochs_set": run.epochs_set,
        "best_epoch": run.best_epoch,
        "stopped_early": run.stopped_early,
        "early_stopping": run.early_stopping,
        "precision": run.precision,
        "tiling": run.test.tiling,
        "skill": run.test.scores.get("skill"),
        "validation_loss": run.val_loss,
        **{f"seconds_{part}": run.times.get(part) for part in PARTS},
        "patches_per_second": run.patches_per_second,
        "data_wait_fraction": run.data_wait,
        "joules": run.joules,
        "attempts": run.attempts,
        "set_aside": run.set_aside,
        "code": run.code,
        "data": run.data,
        "path": one_line(run.path),
        "folder": _folder(run),
    }


def _folder(run: RecordedRun) -> str | None:
    """What a reader of the run wants to open: its folder, or the one of its logs."""
    if run.origin == "paper":
        return None
    path = Path(run.path)
    return str(path if path.is_dir() else path.parent)


GROUP_QUANTITIES: dict[str, tuple[str, int, Callable[[RecordedRun], float | None]]] = {
    "test_accuracy": ("test acc.", 4, lambda run: run.test_accuracy),
    "published_accuracy": (ALL_PIXELS, 4, lambda run: run.published_accuracy),
    "validation_accuracy": ("val. acc.", 4, lambda run: run.val_accuracy),
    "seconds_per_epoch": ("s/epoch", 2, lambda run: run.seconds_per_epoch),
    "seconds_per_scene": ("s/scene", 2, lambda run: run.test.seconds_per_scene),
    "joules": ("J", 0, lambda run: run.joules),
}


def _all_pixels_differ(found: Collection) -> bool:
    """Whether the two ways to count pixels make a difference in any run."""
    return any(run.published_accuracy not in (None, run.test_accuracy) for run in found.runs)


def groups_table(found: Collection) -> Table:
    """One row per group: mean, standard deviation, interval, best, n of each quantity."""
    columns = [Column("group", "group"), Column("rest", "and"), Column("runs", "n", 0)]
    columns.append(Column("test_data", "tested on"))
    shown = {*GROUP_QUANTITIES} - {"joules"}
    if not _all_pixels_differ(found):
        shown.remove("published_accuracy")
    for key, (head, digits, _) in GROUP_QUANTITIES.items():
        first = key == "test_accuracy"
        columns += [
            Column(f"{key}_n", f"n {head}", 0, shown=False),
            Column(f"{key}_mean", f"{head} mean", digits, shown=key in shown),
            Column(f"{key}_sd", "sd", digits, shown=key in shown),
            Column(f"{key}_low", f"{LEVEL:.0%} from", digits, shown=first),
            Column(f"{key}_high", "to", digits, shown=first),
            Column(f"{key}_best", "best", digits, shown=first),
        ]
    rows = []
    for group in found.groups:
        row: dict[str, object] = {
            "group": group.label,
            "rest": group.rest or None,
            "runs": len(group.runs),
        }
        for key, (_, _, quantity) in GROUP_QUANTITIES.items():
            if summary := group.summary(quantity):
                low, high = summary.interval or (None, None)
                best = summary.high if "accuracy" in key else summary.low
                values = (summary.n, summary.mean, summary.sd, low, high, best)
                names = ("n", "mean", "sd", "low", "high", "best")
                row |= {f"{key}_{n}": v for n, v in zip(names, values, strict=True)}
        if "test_accuracy_n" in row:
            runs = f" ({group.by_names} of {len(group.runs)} by the scenes' names)"
            row["test_data"] = group.tested_on + (runs if group.by_names else "")
        rows.append(row)
    note = (
        "A group is runs with equal settings. sd: sample standard deviation; "
        f"{LEVEL:.0%} from … to: interval of the mean by Student's t, from three different values "
        "on. It assumes values that scatter normally; equal repeats count once in it. "
        f"{PUBLISHED_FASHION}"
    )
    note += "" if available() else WITHOUT_SCIPY
    return Table("groups", "Groups", tuple(columns), rows, note if rows else "No run is finished.")


def comparisons_table(found: Collection) -> Table:
    """Pairs of groups that differ in one factor."""
    rows = []
    for c in comparisons(found.groups):
        first, second = c.summaries
        rows.append(
            {
                "factor": c.factor,
                "quantity": c.quantity,
                "data": c.data,
                "first": c.names[0],
                "second": c.names[1],
                "first_mean": first.mean,
                "second_mean": second.mean,
                "n": plural(first.n, "pair") if c.test.paired else f"{first.n} + {second.n}",
                "difference": c.test.difference,
                # Two values may lie close by chance, and seem a huge effect.
                "effect": c.test.effect if min(first.n, second.n) > 2 else None,
                "superiority": c.test.superiority,
                "p": c.test.p,
                "p_holm": c.corrected,
                "p_smallest": c.test.smallest_p,
            }
        )
    columns = (
        Column("factor", "factor"),
        Column("quantity", "quantity"),
        Column("data", "tested on"),
        Column("first", "first"),
        Column("second", "second"),
        Column("n", "n", 0),
        Column("first_mean", "mean of first", 4),
        Column("second_mean", "of second", 4),
        Column("difference", "difference", 4),
        Column("effect", "Hedges' g", 2),
        Column("superiority", "P(first > second)", 2),
        Column("p", "p", 3),
        Column("p_holm", "p (Holm)", 3),
        Column("p_smallest", "smallest p possible", 4),
    )
    note = (
        "Groups of one source that differ in one factor only, or in the device and the precision "
        "that comes with it. Equal repeats count once. Hedges' g: from three runs a side on. "
        "p: permutation test of the means, two-sided, exact for small groups (signs of the "
        "differences where the same models are evaluated twice); Holm's correction is over this "
        "table. Where the smallest possible p "
        "is above 0.05, no result of so few runs could be significant. Groups of one run are not "
        "compared."
    )
    note += "" if available() else WITHOUT_SCIPY
    if not rows:
        note = "No two groups of two runs or more, of one source, differ in one factor only."
    return Table("comparisons", "Comparisons", columns, rows, note)


def evaluations_table(found: Collection) -> Table:
    """One row per evaluation of whole scenes, and one per reference classifier in it."""
    scores = ("iou", "precision", "recall", "f1", "skill", "brier", "calibration_error")
    rows = []
    for run in found.runs:
        for evaluation in run.evaluations:
            entries = {"network": {"accuracy": evaluation.accuracy, **evaluation.scores}}
            for name, values in (entries | evaluation.baselines).items():
                row: dict[str, object] = {
                    "run": run.name,
                    "evaluation": evaluation.where,
                    "classifier": name,
                }
                row |= {"data": evaluation.tested_on, "tiling": evaluation.tiling}
                row["labels"] = evaluation.labels
                row["scenes"] = len(evaluation.per_scene) or None
                row |= {key: values.get(key) for key in ("accuracy", *scores)}
                if name == "network":
                    row["accuracy_all_pixels"] = evaluation.accuracy_all_pixels
                    row["seconds_per_scene"] = evaluation.seconds_per_scene
                rows.append(row)
    columns = (
        Column("run", "run"),
        Column("evaluation", "evaluation"),
        Column("classifier", "classifier"),
        Column("data", "tested on"),
        Column("labels", "labels", shown=False),
        Column("tiling", "tiling"),
        Column("scenes", "scenes", 0),
        Column("accuracy", "accuracy", 4),
        # Where all pixels were measured and have a label it is the same.
        Column(
            "accuracy_all_pixels",
            "accuracy, all pixels",
            4,
            shown=any(
                row.get("accuracy_all_pixels") not in (None, row["accuracy"]) for row in rows
            ),
        ),
        *(Column(name, name.replace("_", " "), 4) for name in scores),
        Column("seconds_per_scene", "s/scene", 3),
    )
    # Those with accuracy alone stand in the table of runs already.
    shown = [row for row in rows if row["iou"] is not None]
    note = (
        f"Means over scenes, against {_labels(shown)}. skill: the Hanssen-Kuipers discriminant "
        "(true skill statistic, TSS), hit rate minus false alarm rate."
    )
    if any(row["labels"] == BENCHMARK_LABELS for row in shown):
        note += f" {IMPERFECT}"
    if not shown:
        note = "No evaluation has more than its accuracy."
    return Table("evaluations", "Whole scenes", columns, rows, note, shown)


def _labels(rows: Sequence[Row]) -> str:
    """The label sources of the rows in words; those that are not the benchmark's name theirs."""
    sources = dict.fromkeys(row["labels"] for row in rows)
    named = [f"the {LABEL_NAMES.get(str(source), source)}" for source in sources if source]
    unknown = ["labels of an unknown source"] if None in sources else []
    return " or ".join([*named, *unknown])


def scenes_table(found: Collection) -> Table:
    """Accuracy of each named scene over all own runs of equal data, the worst first."""
    by_data: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for group in found.groups:
        for run in group.runs:
            for name, value in run.test.per_scene.items() if run.origin == "run" else ():
                by_data[group.tested_on][name].append(value)
    rows: list[Row] = []
    shown: list[Row] = []
    for data, by_scene in by_data.items():
        own = [_scene_row(data, name, values) for name, values in by_scene.items()]
        own.sort(key=lambda row: row["mean"])
        rows += own
        shown += own if len(own) <= 10 else [*own[:5], *own[-5:]]
    columns = (
        Column("data", "tested on"),
        Column("scene", "scene"),
        Column("runs", "n", 0),
        Column("mean", "mean accuracy", 4),
        Column("lowest", "lowest", 4),
        Column("highest", "highest", 4),
    )
    note = "Own runs."
    if len(shown) < len(rows):
        each = " of each data set" if len(by_data) > 1 else ""
        note = f"The five worst and the five best{each}; the CSV file has all."
    if not rows:
        note = "No own run has accuracies of scenes."
    return Table("scenes", "Scenes", columns, rows, note, shown)


def _scene_row(data: str, name: str, values: Sequence[float]) -> dict[str, Any]:
    return {
        "data": data,
        "scene": name,
        "runs": len(values),
        "mean": statistics.fmean(values),
        "lowest": min(values),
        "highest": max(values),
    }


BUILDERS = (
    groups_table,
    comparisons_table,
    runs_table,
    evaluations_table,
    times_table,
    fits_table,
    scaling_table,
    targets_table,
    hpc_table,
    scenes_table,
)
