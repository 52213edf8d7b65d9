"""The rows of a plan as a table, for a terminal and for files."""

from collections.abc import Iterator, Sequence

from cloudmask.experiments.plan import Plan, short_name
from cloudmask.system.tables import plain_table


def plan_lines(plan: Plan) -> Iterator[str]:
    """Number, varied parameters and run directory of each row, then what is the same in all."""
    varied = plan.varied
    short = titles(varied)
    heads = ["row", *short, "run directory"]
    rows = []
    for row in plan.rows:
        mark = "  (dropped: the file no longer asks for it)" if row.index in plan.dropped else ""
        cells = [show(row.parameters.get(key)) for key in varied]
        rows.append([str(row.index), *cells, f"{plan.run(row)}{mark}"])
    yield from plain_table(heads, rows)
    fixed = {k: v for k, v in plan.rows[0].parameters.items() if k not in varied}
    if fixed:
        yield "in all rows: " + ", ".join(f"{key}={show(value)}" for key, value in fixed.items())


def titles(keys: Sequence[str]) -> list[str]:
    """Short names of the keys, where they are unique."""
    last = [short_name(key) for key in keys]
    return [short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)]


def show(value) -> str:
    """A parameter's value in a cell; one that the row does not have is a dash."""
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)
