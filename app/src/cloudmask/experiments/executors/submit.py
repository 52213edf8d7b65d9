"""Rows to executors: by the site and GPU that a row names, or that the command line gives."""

import os
import platform
import signal
from collections.abc import Sequence
from concurrent import futures
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import EXIT_INTERRUPTED, Fault, InputError, Interrupted
from cloudmask.experiments import state, submissions
from cloudmask.experiments.executors import Shape, Work, batch, local, shown, site, ssh
from cloudmask.experiments.plan import Plan, Row, parse_ranges
from cloudmask.system import files, lock
from cloudmask.system.signals import stop_requests

LOCAL = "local"
WAIT_SECONDS = 0.2
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


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


def choose_anew(plan: Plan, index: str) -> list[Row]:
    """The rows of `index`, whatever they have left."""
    rows = [plan.row(number) for number in parse_ranges(index)]
    found = state.states(plan)
    for row in rows:
        if found[row.index - 1].word == "running":
            raise InputError(f"--index {row.index}: this row is running")
    return rows


def move_aside(plan: Plan, rows: Sequence[Row]) -> None:
    """Keep what the rows have left under another name."""
    for row in rows:
        if plan.run(row).exists():
            print(f"{plan.run(row)}: moved to {files.move_aside(plan.run(row))}")


@dataclass(frozen=True)
class HandOver:
    """Rows by who takes them: commands of batch systems, and rows that this process attends to."""

    batches: Sequence[tuple[str, Sequence[Row], list[str]]]
    parts: Sequence[tuple[str, Sequence[Row], local.Local | ssh.Ssh]]

    def show(self, plan: Plan) -> None:
        """Print what `start` would run."""
        for _, _, command in self.batches:
            print(shown(command))
        for _, rows, executor in self.parts:
            for row in rows:
                print(shown(executor.command(plan, row)))

    def start(self, plan: Plan) -> None:
        """Submit to the batch systems, then execute the other rows, the sites side by side.

        Raises Fault if rows failed; Interrupted if a signal ended it, and running ones saved.
        """
        for where, rows, command in self.batches:
            batch.hand_over(plan, rows, command, where)
        if self.parts:
            _attend(plan, self.parts)


def prepare(
    plan: Plan,
    rows: Sequence[Row],
    place: str,
    default_site: str,
    default_gpu: str,
    work: Work,
    jobs: int | None,
    shape: Shape,
) -> HandOver:
    """Give each row to its site and GPU; changes nothing.

    `place` is the experiment as the user gave it. Raises InputError if a site cannot be used.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        where = str(row.parameters.get("site", default_site))
        gpu = str(row.parameters.get("gpu", default_gpu))
        # Who starts rows itself looks at each row's GPU.
        groups.setdefault((where, gpu if _kind(where) in ("slurm", "lsf") else ""), []).append(row)
    batches, parts = [], []
    for (where, gpu), group in groups.items():
        kind = _kind(where)
        if kind == "slurm":
            from cloudmask.experiments import sites

            options = sites.load(where).sbatch(gpu or None, shape.gpus, shape.nodes)
            batches.append((where, group, batch.sbatch(plan, group, options, place)))
        elif kind == "lsf":
            cluster = site.read(site.find(where), site.LsfSite)
            for portion in batch.pieces(plan, group):
                batches.append((where, portion, batch.bsub(plan, portion, cluster, gpu, work)))
        else:
            executor = local.Local(work, jobs) if kind == LOCAL else ssh.Ssh(where)
            executor.check(group)
            parts.append((where, group, executor))
    return HandOver(batches, parts)


def _attend(plan: Plan, parts: Sequence[tuple[str, Sequence[Row], local.Local | ssh.Ssh]]) -> None:
    name = f".executor-{platform.node()}-{os.getpid()}"
    with lock.exclusive(plan.folder / name, str(plan.folder)), stop_requests(*STOP_SIGNALS) as stop:
        for where, group, _ in parts:
            numbers = [row.index for row in group]
            submissions.record(plan, where, str(os.getpid()), numbers, name)
        with futures.ThreadPoolExecutor(len(parts)) as pool:
            working = [pool.submit(e.execute, plan, group, stop) for _, group, e in parts]
            # A wait without limit would keep signals from being handled.
            while futures.wait(working, WAIT_SECONDS).not_done:
                pass
    codes = {index: code for future in working for index, code in future.result().items()}
    wanted = [row.index for _, group, _ in parts for row in group]
    print(
        f"{plan.name}: {sum(code == 0 for code in codes.values())} of {len(wanted)} rows finished"
    )
    if stop.requested:
        raise Interrupted(
            f"{plan.folder}: its rows saved their state; cloudmask-grid rerun goes on"
        )
    failed = [index for index in wanted if codes.get(index) not in (0, EXIT_INTERRUPTED)]
    if failed:
        raise Fault(f"{len(failed)} rows failed ({failed[0]} first): see cloudmask-grid status")
    if EXIT_INTERRUPTED in codes.values():
        raise Interrupted(f"{plan.folder}: rows were interrupted; cloudmask-grid rerun goes on")


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
