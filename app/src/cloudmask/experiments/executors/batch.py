"""Rows as job arrays of a batch system: Slurm's `sbatch`, LSF's `bsub`.

PSI/J, the library for many schedulers, was looked at (0.9.11): it has no job arrays.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudmask.errors import EXIT_INTERRUPTED, Fault, InputError
from cloudmask.experiments import submissions
from cloudmask.experiments.executors import Work, shown
from cloudmask.experiments.executors.site import LsfSite
from cloudmask.experiments.plan import Plan, Row, ranges

TEMPLATE = Path("slurm/train.sbatch")
ASK_SECONDS = 30  # that a controller may take to answer
LSF_NAME_LENGTH = 255  # of bsub -J with its index list, by LSF's documentation


def sbatch(plan: Plan, rows: Sequence[Row], options: Sequence[str], place: str) -> list[str]:
    """The command line for Slurm; `options` are the site's, `place` the experiment as given.

    Raises InputError if Slurm takes no array index that large.
    """
    last, limit = max(row.index for row in rows), _array_size()
    if limit is not None and last >= limit:
        raise InputError(
            f"row {last}: arrays end at {limit - 1} here (MaxArraySize of scontrol show config); "
            "expected --index up to that, and the further rows in an experiment of another name"
        )
    array = f"--array={ranges([row.index for row in rows])}"
    return ["sbatch", *options, f"--job-name={plan.name}", array, str(TEMPLATE), place]


def _array_size() -> int | None:
    """Slurm's MaxArraySize, one more than the largest index; None if nobody tells."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=ASK_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return int(match[1]) if match else None


def bsub(plan: Plan, rows: Sequence[Row], site: LsfSite, gpu: str, work: Work) -> list[str]:
    """The command line for LSF.

    A job gets SIGUSR1 before its time is over, saves and ends with 75, which requeues it.
    """
    name = f"{plan.name}[{ranges([row.index for row in rows])}]"
    words = ["bsub", "-J", name, "-W", site.time]
    words += ["-wa", "USR1", "-wt", str(site.warn_minutes), "-Q", str(EXIT_INTERRUPTED)]
    words += ["-q", site.queue] if site.queue else []
    words += ["-P", site.project] if site.project else []
    if gpu:
        model = site.gpus.get(gpu)
        if model is None:
            known = ", ".join(site.gpus) or "none"
            raise InputError(f"--gpu {gpu}: not in the site's gpus; known: {known}")
        words += ["-gpu", f"num=1:gmodel={model}"]
    words += ["-o", str(plan.folder / "logs" / "%J-%I.log"), *site.options]
    # LSF joins the words and gives them to a shell in the job, where the number is known.
    arguments = Work(work.data or site.data or None, work.scenes or tuple(site.scenes))
    if not arguments.data:
        raise InputError("data: no patch store; expected it in the site's file, or as --data")
    job = f"{site.command} run {shlex.quote(str(plan.folder))} --index $LSB_JOBINDEX"
    return [*words, f"{job} {shown(arguments.arguments())}"]


def pieces(plan: Plan, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in portions whose index list fits LSF's limit."""
    portion: list[Row] = []
    for row in rows:
        listed = ranges([r.index for r in (*portion, row)])
        if portion and len(f"{plan.name}[{listed}]") > LSF_NAME_LENGTH:
            yield portion
            portion = []
        portion.append(row)
    if portion:
        yield portion


def hand_over(plan: Plan, rows: Sequence[Row], command: Sequence[str], site: str) -> None:
    """Run a submitting command and note the job's number."""
    print(shown(command))
    (plan.folder / "logs").mkdir(exist_ok=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"{command[0]}: no such command; expected to be on the cluster") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        raise Fault(f"{command[0]} refused (exit code {done.returncode}): {reason}")
    print(done.stdout.strip())
    number = re.search(r"\d+", done.stdout)
    job = number[0] if number else "unknown"
    submissions.record(plan, site, job, [row.index for row in rows])
