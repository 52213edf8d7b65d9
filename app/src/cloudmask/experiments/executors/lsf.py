"""Rows as job arrays of LSF, by `bsub`."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from cloudmask.config.yaml_model import Positive, Section
from cloudmask.errors import EXIT_INTERRUPTED, InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors.batch import BatchSystem
from cloudmask.experiments.executors.executor import (
    Launch,
    RowInputs,
    SubmitRequest,
    at_site,
    command_line,
)
from cloudmask.experiments.plan import Plan, Row, ranges

NAME_LENGTH = 255  # of bsub -J with its index list, by LSF's documentation


class LsfSite(Section):
    """A cluster under LSF."""

    executor: Literal["lsf"] = Field(description="who starts rows")
    queue: str = Field("", description="as `bsub -q` has it; empty: the cluster's default")
    project: str = Field("", description="as `bsub -P` has it")
    time: str = Field("24:00", pattern=r"^\d+:\d\d$", description="limit, hours:minutes")
    gpus: dict[str, str] = Field({}, description="what --gpu may name: the model's name in LSF")
    command: str = Field("cloudmask-grid", description="how the job's shell calls cloudmask-grid")
    data: str = Field("", description="patch store as the nodes see it; --data wins")
    scenes: list[str] = Field([], description="scenes to evaluate on, as the nodes see them")
    exclusive: bool = Field(False, description="ask for whole hosts (`bsub -x`)")
    options: list[str] = Field([], description="further options of bsub")
    warn_minutes: Positive = Field(10, description="SIGUSR1 comes so long before the time limit")


class Lsf(BatchSystem):
    """Job arrays by `bsub`.

    A job gets SIGUSR1 before its time is over, saves and ends with 75, which requeues it.
    """

    site_model = LsfSite

    def __init__(self, site: str, request: SubmitRequest):
        super().__init__(site, request)
        self._site = sites.read(sites.find(site), LsfSite)

    def arrays(self, plan: Plan, rows: Sequence[Row], gpu: str) -> list[Launch]:
        """As many arrays as LSF's limit of a job's name demands."""
        return [
            Launch(tuple(portion), tuple(self._bsub(plan, portion, gpu)))
            for portion in _portions(plan, rows)
        ]

    def _bsub(self, plan: Plan, rows: Sequence[Row], gpu: str) -> list[str]:
        site = self._site
        name = f"{plan.name}[{ranges([row.index for row in rows])}]"
        command = ["bsub", "-J", name, "-W", site.time]
        command += ["-wa", "USR1", "-wt", str(site.warn_minutes), "-Q", str(EXIT_INTERRUPTED)]
        command += ["-q", site.queue] if site.queue else []
        command += ["-P", site.project] if site.project else []
        command += ["-x"] if site.exclusive else []
        if gpu:
            model = site.gpus.get(gpu)
            if model is None:
                known = ", ".join(site.gpus) or "none"
                raise InputError(f"--gpu {gpu}: not in the site's gpus; known: {known}")
            command += ["-gpu", f"num=1:gmodel={model}"]
        command += ["-o", str(plan.folder / "logs" / "%J-%I.log"), *site.options]
        given = self.request.inputs
        inputs = RowInputs(given.data or site.data or None, given.scenes or tuple(site.scenes))
        if not inputs.data:
            raise InputError("data: no patch store; expected it in the site's file, or as --data")
        # LSF joins the arguments and gives them to a shell in the job, where the number is known.
        job = f"{site.command} run {shlex.quote(str(plan.folder))} --index $LSB_JOBINDEX"
        job = f"{job} {command_line(inputs.arguments())}"
        return [*command, at_site(self.site_name, job)]


def _portions(plan: Plan, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in portions whose index list fits LSF's limit."""
    portion: list[Row] = []
    for row in rows:
        listed = ranges([r.index for r in (*portion, row)])
        if portion and len(f"{plan.name}[{listed}]") > NAME_LENGTH:
            yield portion
            portion = []
        portion.append(row)
    if portion:
        yield portion
