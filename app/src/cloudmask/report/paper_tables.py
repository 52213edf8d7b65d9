"""The paper's tables 1 to 4, with these runs beside them where they have a place in them."""

from collections.abc import Callable

from cloudmask.report.collection import Collection
from cloudmask.report.paper_comparison import (
    data_of,
    hardware_of,
    last_accuracy,
    ours,
    protocol_differences,
    protocol_unknown,
)
from cloudmask.report.published_paper import paper
from cloudmask.report.runs import RecordedRun
from cloudmask.report.table import Column, Row, Table
from cloudmask.scenes.slstr import LABEL_NAMES

PAPER, OURS = "paper", "these runs"


def methods_table(found: Collection) -> Table:
    """Table 1: methods of cloud masking with their accuracy, and the groups of these runs."""
    rows: list[Row] = [
        {"whose": PAPER, "method": method, "data": data, "labels": labels, "accuracy": accuracy}
        for method, data, labels, accuracy in paper().rows("methods")
    ]
    for group in ours(found):
        for data in sorted({data_of(run).text for run in group.runs if run.published_accuracy}):
            runs = [run for run in group.runs if data_of(run).text == data]
            known = [run.published_accuracy for run in runs if run.published_accuracy is not None]
            labels = LABEL_NAMES.get(runs[0].test.labels or "")
            rows.append(
                {
                    "whose": OURS,
                    "method": group.label,
                    "data": data,
                    "labels": labels,
                    "accuracy": sum(known) / len(known),
                    "runs": len(known),
                }
            )
    columns = (
        Column("whose", "whose"),
        Column("method", "method"),
        Column("data", "data"),
        Column("labels", "labels"),
        Column("accuracy", "accuracy", 4),
        Column("runs", "n", 0),
    )
    note = (
        "Every row of the paper is over other data and other labels: none of these accuracies can "
        "be compared with another row's. The last row of the paper is from its text. These runs' "
        "accuracies are over all pixels."
    )
    return Table("paper_table_1", "The paper's table 1: methods", columns, rows, note)


def resources_table(found: Collection) -> Table:
    """Table 2: the computers of the paper, and those of these runs."""
    keys = ("host", "gpu", "gpu_memory", "gpus", "nodes", "cores", "memory")
    rows: list[Row] = [
        {"whose": PAPER, **dict(zip(keys, row, strict=True))} for row in paper().rows("resources")
    ]
    seen = {
        (run.machine or run.source, run.device, run.workers, run.nodes): None
        for group in ours(found)
        for run in group.runs
    }
    rows += [
        {"whose": OURS, "host": host, "gpu": device, "gpus_used": workers, "nodes_used": nodes}
        for host, device, workers, nodes in seen
    ]
    columns = (
        Column("whose", "whose"),
        Column("host", "machine"),
        Column("gpu", "device"),
        Column("gpu_memory", "memory of one (GB)", 0),
        Column("gpus", "GPUs in a node", 0),
        Column("nodes", "nodes", 0),
        Column("cores", "cores in a node", 0),
        Column("memory", "memory of a node (GB)", 0),
        Column("gpus_used", "used by a run", 0),
        Column("nodes_used", "nodes of a run", 0),
    )
    note = (
        f"From {paper().source('resources')}. Of these runs it is known what they used, not what "
        "the machine has. One memory is left out: the paper's 3 GB is no V100's."
    )
    return Table("paper_table_2", "The paper's table 2: machines", columns, rows, note)


def ways_table(found: Collection) -> Table:
    """Table 3: ways to run the benchmark many times, and this program's."""
    keys = ("what", "batch_script", "cloudmesh", "cloudmask")
    rows: list[Row] = [dict(zip(keys, row, strict=True)) for row in paper().rows("ways_to_run")]
    columns = (
        Column("what", "what"),
        Column("batch_script", "batch script (Greene)"),
        Column("cloudmesh", "cloudmesh-ee (Rivanna)"),
        Column("cloudmask", "cloudmask-grid"),
    )
    note = (
        "The first two are as the paper judges them, shortened; the last is this program's. The "
        "paper's ratings of how easy something is to learn are left out."
    )
    return Table("paper_table_3", "The paper's table 3: many runs", columns, rows, note)


def results_table(found: Collection) -> Table:
    """Table 4: the results, and these runs in its columns, with what differs."""
    rows: list[Row] = [_result_row(PAPER, run) for run in paper().runs]
    own = [run for group in ours(found) for run in group.runs]
    rows += [_result_row(OURS, run) for run in own]
    columns = (
        Column("whose", "whose"),
        Column("run", "run"),
        Column("epochs", "epochs", 0),
        Column("seed", "seed"),
        Column("train_accuracy", "train acc.", 4),
        Column("test_accuracy", "test acc.", 4),
        Column("seconds_per_epoch", "avg. train time (s/epoch)", 2),
        Column("seconds_per_scene", "avg. inference time (s)", 2),
        Column("device", "device"),
        Column("machine", "machine"),
        Column("data", "test data"),
        Column("differences", "other than the paper's"),
    )
    note = (
        "Accuracies compare only where the test data is the paper's, times only on its hardware, "
        "and numbers of epochs only under its stopping rule. The training accuracy is of the last "
        "epoch. The test accuracy is over all pixels, as in the paper; it is missing where a run "
        "did not record it. The inference time contains reading and writing."
    )
    return Table("paper_table_4", "The paper's table 4: results", columns, rows, note)


def _result_row(whose: str, run: RecordedRun) -> dict:
    differences = protocol_differences(run) if whose == OURS else []
    if whose == OURS and protocol_unknown(run):
        differences.append("stopping rule not known")
    return {
        "whose": whose,
        "run": run.name,
        "epochs": run.epochs_run,
        "seed": run.seed,
        "train_accuracy": last_accuracy(run),
        "test_accuracy": run.published_accuracy,
        "seconds_per_epoch": run.seconds_per_epoch,
        "seconds_per_scene": run.test.seconds_per_scene_all,
        "device": hardware_of(run) or None,
        "machine": run.machine,
        "data": data_of(run).text,
        "differences": "; ".join(differences) or None,
    }


PAPER_TABLES: tuple[Callable[[Collection], Table], ...] = (
    methods_table,
    resources_table,
    ways_table,
    results_table,
)
