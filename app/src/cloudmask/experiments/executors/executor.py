"""What all executors have in common: rows become command lines, and those are started."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from cloudmask.config.yaml_model import Section
from cloudmask.errors import EXIT_INTERRUPTED
from cloudmask.experiments.plan import Plan, Row
from cloudmask.record.job_files import SITE
from cloudmask.system.signals import StopRequest


@dataclass(frozen=True)
class RowInputs:
    """What every row gets: patch store and scenes as the executing machine sees them."""

    data: str | None
    scenes: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """The arguments for `cloudmask-grid run`."""
        scenes = ["--scenes", *self.scenes] if self.scenes else []
        return ["--data", str(self.data), *scenes]


@dataclass(frozen=True)
class Allocation:
    """What a row gets from a batch system: GPUs of each node, and nodes."""

    gpus: int = 1
    nodes: int = 1


@dataclass(frozen=True)
class SubmitRequest:
    """What the user asks of all executors.

    experiment: as the user gave it. gpu: for rows that name none. jobs: rows at once on this
    machine, None for one on each GPU.
    """

    experiment: str
    inputs: RowInputs
    gpu: str = ""
    jobs: int | None = None
    allocation: Allocation = Allocation()


@dataclass(frozen=True)
class Launch:
    """A command line and the rows that it starts."""

    rows: tuple[Row, ...]
    command: tuple[str, ...]


class Executor(ABC):
    """Starts rows at one site, which is named as the user named it.

    site_model: what its site file holds, None where no file is needed. attended: whether the rows
    end with this process, which waits for them; a batch system only takes them.
    """

    site_model: ClassVar[type[Section] | None]
    attended: ClassVar[bool]

    def __init__(self, site: str, request: SubmitRequest):
        """Read what the site needs; raises InputError if that cannot be used."""
        self.site_name = site
        self.request = request

    @abstractmethod
    def launches(self, plan: Plan, rows: Sequence[Row]) -> list[Launch]:
        """What would be run for the rows; starts and writes nothing.

        Raises InputError if a row cannot be run here.
        """

    @abstractmethod
    def start(self, plan: Plan, launches: Sequence[Launch], stop: StopRequest) -> dict[int, int]:
        """Run what `launches` returned.

        Returns exit codes by row number, of the rows that were attended to their end. Once a stop
        is requested running rows save their state and no other is started.
        """


def at_site(site: str, command: str) -> str:
    """The command of a job's shell, which records the site: the variable is exported before it."""
    return f"export {SITE}={shlex.quote(site)}; {command}"


def command_line(command: Sequence[str | Path]) -> str:
    """A command as a user would type it."""
    return shlex.join(map(str, command))


def outcome(code: int) -> str:
    """What an exit code of `cloudmask-grid run` means."""
    if code == 0:
        return "finished"
    if code == EXIT_INTERRUPTED:
        return "interrupted, can be continued"
    return f"failed (exit code {code})"
