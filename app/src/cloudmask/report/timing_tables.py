"""Tables of time: its parts, fixed cost and slope, scaling, the time to an accuracy."""

import statistics

from cloudmask.record.rules import TARGET
from cloudmask.report.collection import Collection
from cloudmask.report.table import Column, Table
from cloudmask.report.timing import PARTS, machines, parts, scalings, seconds_to


def times_table(found: Collection) -> Table:
    """Mean seconds of each part of a run, per group."""
    rows = []
    for group in found.groups:
        if known := parts(group):
            total = sum(known.values())
            rows.append({"group": group.label, "runs": len(group.runs), **known, "total": total})
    columns = (
        Column("group", "group"),
        Column("runs", "n", 0),
        *(Column(part, f"{head} (s)", 1) for part, head in PARTS.items()),
        Column("total", "total (s)", 1),
    )
    note = "Means over the runs of a group. Published logs do not separate the first epoch."
    return Table("times", "Run time", columns, rows, note if rows else "No run has times.")


def fits_table(found: Collection) -> Table:
    """Fixed cost and cost per epoch of each machine."""
    rows = [
        {
            "machine": machine.label,
            "runs": line.n,
            "epochs": ", ".join(map(str, sorted({epochs for epochs, _ in machine.points}))),
            "seconds_per_epoch": line.slope,
            "seconds_per_epoch_error": line.slope_error,
            "fixed_seconds": line.fixed,
            "fixed_seconds_error": line.fixed_error,
        }
        for machine in machines(found.runs)
        if (line := machine.line)
    ]
    columns = (
        Column("machine", "machine"),
        Column("runs", "n", 0),
        Column("epochs", "epochs"),
        Column("fixed_seconds", "fixed (s)", 0),
        Column("fixed_seconds_error", "± (s)", 0),
        Column("seconds_per_epoch", "per epoch (s)", 2),
        Column("seconds_per_epoch_error", "± (s/epoch)", 2),
    )
    note = (
        "Least squares: training seconds = fixed + epochs × seconds per epoch; ± is a standard "
        "error, which two points do not have. The fixed part is paid once: of the published runs, "
        "the first pass over the shared file system. A negative one is smaller "
        "than the scatter of the runs."
    )
    if not rows:
        note = "No machine has runs with different numbers of epochs."
    return Table("fits", "Fixed cost and cost per epoch", columns, rows, note)


def scaling_table(found: Collection) -> Table:
    """Patches per second and efficiency by number of workers."""
    rows = [
        {"runs": s.label, "workers": w, "patches_per_second": rate, "efficiency": efficiency}
        for s in scalings(found.groups)
        for w, rate, efficiency in zip(s.workers, s.rates, s.efficiencies, strict=True)
    ]
    columns = (
        Column("runs", "runs"),
        Column("workers", "workers", 0),
        Column("patches_per_second", "patches/s", 1),
        Column("efficiency", "efficiency", 3),
    )
    note = "" if rows else "No runs that differ in their number of workers only."
    return Table("scaling", "Scaling over workers", columns, rows, note)


def targets_table(found: Collection) -> Table:
    """How many runs of each group reach the target accuracy, and when."""
    rows = []
    for group in found.groups:
        curves = [run for run in group.runs if run.history.get("val_accuracy")]
        if not curves:
            continue
        reached = [s for run in curves if (s := seconds_to(run, TARGET)) is not None]
        best = max(max(run.history["val_accuracy"]) for run in curves)
        above = sum(max(run.history["val_accuracy"]) >= TARGET for run in curves)
        rows.append(
            {
                "group": group.label,
                "data": group.trained_on,
                "runs": len(curves),
                "best": best,
                "reached": above,
                "median_seconds": statistics.median(reached) if reached else None,
            }
        )
    columns = (
        Column("group", "group"),
        Column("runs", "n", 0),
        Column("data", "trained on"),
        Column("best", "best val. acc.", 4),
        Column("reached", f"reached {TARGET:g}", 0),
        Column("median_seconds", "median seconds to it", 1),
    )
    note = (
        f"Validation accuracy of {TARGET:g}, the working group's target; start-up and staging "
        "count. The median is over the runs that reached it."
    )
    return Table(
        "targets",
        "Time to accuracy",
        columns,
        rows,
        note if rows else "No run has accuracies by epoch.",
    )
