"""Everything from scenes to pictures as jobs of Slurm that wait for each other.

prepare (if there is no overlay yet) -> train (an array) -> evaluate (each task after its like).
"""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import submissions
from cloudmask.experiments.executors import batch, slurm
from cloudmask.experiments.executors.executor import SubmitRequest, command_line
from cloudmask.experiments.plan import Plan, Row

PREPARE, EVALUATE = Path("slurm/prepare.sbatch"), Path("slurm/evaluate.sbatch")
TRAINING, INFERENCE = Path("data/training"), Path("data/inference")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ChainedJob:
    """One submission: after: its condition and the job it waits for, as --dependency has them."""

    name: str
    options: Sequence[str]
    script: Sequence[str]
    after: tuple[str, str] | None = None

    def command(self, awaited: str) -> tuple[str, ...]:
        """The command line of sbatch, with the number of the job it waits for."""
        waiting = []
        if self.after:
            waiting = [f"--dependency={self.after[0]}:{awaited}", "--kill-on-invalid-dep=yes"]
        return slurm.sbatch(["--parsable", *waiting, *self.options], self.script)

    def shell_line(self) -> str:
        """As a line of a shell script, in which the earlier jobs' names are variables."""
        line = command_line(self.command("AWAITED"))
        variable = f"${self.after[1]}" if self.after else ""
        return f"{self.name}=$({line.replace('AWAITED', variable)})"


def jobs(
    plan: Plan, rows: Sequence[Row], site_name: str, request: SubmitRequest
) -> Iterator[ChainedJob]:
    """The jobs, in order. Raises InputError."""
    site = slurm.load_site(site_name)
    gpu = request.gpu or None
    options = site.options_for(gpu, request.allocation)
    overlay = Path(os.path.expandvars(site.overlay))
    after = None
    if not overlay.exists():
        if not TRAINING.is_dir():
            raise InputError(
                f"{overlay}: no overlay, and no scenes in {TRAINING} to make it of; "
                "expected one of them (make data brings scenes)"
            )
        script = (f"--job-name={plan.name}-prepare", str(PREPARE))
        yield ChainedJob("prepare", site.options_without_gpu(gpu), script)
        after = ("afterok", "prepare")
    train = slurm.array_script(plan, rows, slurm.TRAIN, request.experiment)
    yield ChainedJob("train", options, train, after)
    if Path(os.path.expandvars(site.scenes) or INFERENCE).is_dir():
        evaluate = slurm.array_script(plan, rows, EVALUATE, request.experiment, "-evaluate")
        # It is one process, however many train.
        yield ChainedJob("evaluate", site.options_for(gpu), evaluate, ("aftercorr", "train"))


def submit(plan: Plan, chained: Sequence[ChainedJob], site: str, rows: Sequence[Row]) -> None:
    """Submit them; raises Fault if Slurm refuses one."""
    numbers: dict[str, str] = {}
    for job in chained:
        command = job.command(numbers[job.after[1]] if job.after else "")
        numbers[job.name] = batch.submit(command, job.name).split(";")[0]
        logger.info(f"{job.name}: job {numbers[job.name]}")
        if job.name == "train":
            submissions.record(plan, site, numbers["train"], [row.index for row in rows])
