"""Rows to executors: by the site and GPU that a row names, or that the command line gives."""

from collections.abc import Sequence
from pathlib import Path

from cloudmask import files
from cloudmask.errors import InputError
from cloudmask.experiments import state
from cloudmask.experiments.executors import Shape, Work, batch, local, site, ssh
from cloudmask.experiments.plan import Plan, Row, parse_ranges

LOCAL = "local"


def choose(plan: Plan, words: Sequence[str], index: str | None) -> list[Row]:
    """The rows in one of these states, or those of `index` that are not yet finished or at work."""
    found = state.states(plan)
    if index is None:
        return [s.row for s in found if s.word in words and s.row.index not in plan.dropped]
    chosen = []
    for number in parse_ranges(index):
        row = plan.row(number)
        word = found[row.index - 1].word
        if word in ("finished", "running"):
            raise InputError(f"--index {number}: this row is {word} (--fresh begins it anew)")
        chosen.append(row)
    return chosen


def anew(plan: Plan, index: str) -> list[Row]:
    """The rows of `index`, what they have left moved aside."""
    rows = [plan.row(number) for number in parse_ranges(index)]
    found = state.states(plan)
    for row in rows:
        if found[row.index - 1].word == "running":
            raise InputError(f"--index {row.index}: this row is running")
    for row in rows:
        if plan.run(row).exists():
            print(f"{plan.run(row)}: moved to {files.move_aside(plan.run(row))}")
    return rows


def submit(
    plan: Plan,
    rows: Sequence[Row],
    place: str,
    default_site: str,
    default_gpu: str,
    work: Work,
    jobs: int | None,
    dry_run: bool,
    shape: Shape,
) -> None:
    """Hand the rows over, one site and GPU after the other, batch systems first.

    `place` is the experiment as the user gave it. Raises InputError before anything is submitted
    if a site cannot be used.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        where = str(row.parameters.get("site", default_site))
        gpu = str(row.parameters.get("gpu", default_gpu))
        # Who starts rows itself looks at each row's GPU.
        groups.setdefault((where, gpu if _kind(where) in ("slurm", "lsf") else ""), []).append(row)
    commands, foreground = [], []
    for (where, gpu), group in groups.items():
        kind = _kind(where)
        if kind == "slurm":
            from cloudmask.experiments import sites

            options = sites.load(where).sbatch(gpu or None, shape.gpus, shape.nodes)
            commands.append((group, batch.sbatch(plan, group, options, place), where))
        elif kind == "lsf":
            cluster = site.read(site.find(where), site.LsfSite)
            for portion in batch.pieces(plan, group):
                commands.append((portion, batch.bsub(plan, portion, cluster, gpu, work), where))
        else:
            foreground.append((group, where, kind))
    for group, command, where in commands:
        batch.hand_over(plan, group, command, where, dry_run)
    for group, where, kind in foreground:
        if kind == "ssh":
            hosts = site.read(site.find(where), site.SshSite)
            ssh.submit(plan, group, hosts, where, dry_run)
        else:
            local.submit(plan, group, work, jobs, dry_run)


def _kind(where: str) -> str:
    """The executor of a site; sites that only `cloudmask.experiments.sites` knows are Slurm's."""
    if where == LOCAL:
        return LOCAL
    try:
        return site.executor(site.find(where))
    except InputError:
        if Path(where).suffix in (".yaml", ".yml"):
            raise
        return "slurm"
