"""Everything from scenes to pictures as jobs of Slurm that wait for each other.

prepare (if there is no overlay yet) -> train (an array) -> evaluate (each task after its like).
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.experiments import sites, submissions
from cloudmask.experiments.executors import Shape, batch, shown
from cloudmask.experiments.plan import Plan, Row

PREPARE, EVALUATE = Path("slurm/prepare.sbatch"), Path("slurm/evaluate.sbatch")
TRAINING, INFERENCE = Path("data/training"), Path("data/inference")


@dataclass(frozen=True)
class Job:
    """One submission: after: its condition and the job it waits for, as --dependency has them."""

    name: str
    words: Sequence[str]
    after: tuple[str, str] | None = None

    def command(self, awaited: str) -> list[str]:
        """The words of sbatch, with the number of the job it waits for."""
        after = []
        if self.after:
            after = [f"--dependency={self.after[0]}:{awaited}", "--kill-on-invalid-dep=yes"]
        return [self.words[0], "--parsable", *after, *self.words[1:]]

    def shown(self) -> str:
        """As a line of a shell script."""
        line = shown(self.command("AWAITED"))
        return (
            f"{self.name}=$({line.replace('AWAITED', f'${self.after[1]}' if self.after else '')})"
        )


def jobs(
    plan: Plan, rows: Sequence[Row], site_name: str, gpu: str, shape: Shape, place: str
) -> Iterator[Job]:
    """The jobs, in order; `place` is the experiment as given. Raises InputError."""
    site = sites.load(site_name)
    options = site.sbatch(gpu or None, shape.gpus, shape.nodes)
    overlay = Path(os.path.expandvars(site.overlay))
    after = None
    if not overlay.exists():
        if not TRAINING.is_dir():
            raise InputError(
                f"{overlay}: no overlay, and no scenes in {TRAINING} to make it of; "
                "expected one of them (make data brings scenes)"
            )
        preparing = site.sbatch_without_gpu(gpu or None)
        name = f"--job-name={plan.name}-prepare"
        yield Job("prepare", ["sbatch", *preparing, name, str(PREPARE)])
        after = ("afterok", "prepare")
    train = batch.sbatch(plan, rows, options, place)
    yield Job("train", train, after)
    if Path(os.path.expandvars(site.scenes) or INFERENCE).is_dir():
        # It is one process, however many train.
        train = batch.sbatch(plan, rows, site.sbatch(gpu or None), place)
        words = [str(EVALUATE) if word == str(batch.TEMPLATE) else word for word in train]
        words = [f"{w}-evaluate" if w.startswith("--job-name=") else w for w in words]
        yield Job("evaluate", words, ("aftercorr", "train"))


def submit(plan: Plan, chained: Sequence[Job], site: str, rows: Sequence[Row]) -> None:
    """Submit them; raises Fault if Slurm refuses one."""
    numbers: dict[str, str] = {}
    for job in chained:
        command = job.command(numbers[job.after[1]] if job.after else "")
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            raise InputError("sbatch: no such command; expected to be on the cluster") from None
        if done.returncode:
            reason = " ".join((done.stderr or done.stdout).split())
            raise Fault(f"{job.name}: sbatch refused (exit code {done.returncode}): {reason}")
        numbers[job.name] = done.stdout.strip().split(";")[0]
        print(f"{job.name}: job {numbers[job.name]}", flush=True)
        if job.name == "train":
            submissions.record(plan, site, numbers["train"], [row.index for row in rows])
