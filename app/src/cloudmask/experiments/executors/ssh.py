"""Rows on hosts reached by OpenSSH: plan and earlier work go there, results come back.

Only `ssh` and `tar` are needed on either side. A row saves and stops when the connection to it
ends, whatever ended it.
"""

import logging
import shlex
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from cloudmask.config.yaml_model import Positive, Section
from cloudmask.errors import Fault, InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors import remote
from cloudmask.experiments.executors.executor import (
    Executor,
    Launch,
    RowInputs,
    SubmitRequest,
    at_site,
    command_line,
    outcome,
)
from cloudmask.experiments.plan import Plan, Row
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.2

logger = logging.getLogger(__name__)


class SshHost(Section):
    """A machine reached by OpenSSH."""

    host: str = Field(
        pattern=r"^[^-\s][^\s]*$",
        description="what `ssh` takes; the user's own configuration counts",
    )
    folder: str = Field(description="folder there, in which runs/ lies")
    command: str = Field("cloudmask-grid", description="how the shell there calls cloudmask-grid")
    data: str = Field(description="patch store as that machine sees it")
    scenes: list[str] = Field([], description="scenes to evaluate on, as that machine sees them")
    jobs: Positive = Field(1, description="rows at once, where no devices are named")
    devices: list[int | str] = Field(
        [], description="one row at once on each of these GPUs, as in CUDA_VISIBLE_DEVICES"
    )
    gpu: str = Field("", description="rows that ask for another GPU do not run here; empty: all do")


class SshSite(Section):
    """Hosts that the rows are distributed over."""

    executor: Literal["ssh"] = Field(description="who starts rows")
    options: list[str] = Field([], description="further options of ssh, such as -F FILE")
    hosts: list[SshHost] = Field(min_length=1, description="the machines")


class _Slot(NamedTuple):
    """Where one row at a time runs: a host, and one of its GPUs or None, for it to choose."""

    host: SshHost
    device: int | str | None = None


class Ssh(Executor):
    """The hosts of a site file."""

    site_model = SshSite
    attended = True

    def __init__(self, site: str, request: SubmitRequest):
        super().__init__(site, request)
        self._file = sites.find(site)
        self._site = sites.read(self._file, SshSite)

    def launches(self, plan: Plan, rows: Sequence[Row]) -> list[Launch]:
        """The command of each row on the first host that fits it, though another may run it."""
        return [Launch((row,), self._command(plan, row)) for row in rows]

    def _command(self, plan: Plan, row: Row) -> tuple[str, ...]:
        host = next((host for host in self._site.hosts if _fits(host, row)), None)
        if host is None:
            gpu = row.parameters["gpu"]
            raise InputError(f"row {row.index}: no host of {self.site_name} has gpu {gpu}")
        script = self._script(plan, row, _Slot(host))
        return ("ssh", *self._site.options, host.host, script.strip())

    def start(self, plan: Plan, launches: Sequence[Launch], stop: StopRequest) -> dict[int, int]:
        """Run the rows and fetch them; logs which hosts could not be used."""
        queue = _RowQueue([row for launch in launches for row in launch.rows], stop)
        codes: dict[int, int] = {}
        troubles: list[str] = []

        def work(slot: _Slot) -> None:
            while row := queue.take(slot.host):
                logger.info(f"row {row.index}: started on {slot.host.host}")
                ended = False
                try:
                    codes[row.index] = self._run(plan, row, slot, stop)
                    ended = True
                    logger.info(f"row {row.index}: {outcome(codes[row.index])}")
                except (OSError, subprocess.SubprocessError, Fault, tarfile.TarError) as error:
                    name = slot.host.host
                    troubles.append(f"{name}: {error}; its rows are left to the other hosts")
                    return
                finally:
                    queue.put_down(row, again=not ended)

        threads = [
            threading.Thread(target=work, args=(slot,))
            for host in self._site.hosts
            for slot in _slots(host)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for trouble in troubles:
            logger.warning(trouble)
        return codes

    def _run(self, plan: Plan, row: Row, slot: _Slot, stop: StopRequest) -> int:
        # Without questions, since a host that asks for a password must fail at once.
        ssh = ["ssh", "-o", "BatchMode=yes", *self._site.options, slot.host.host]
        there = remote.RemoteRow(ssh, slot.host.folder, plan, row, self._file)
        return there.run(self._script(plan, row, slot), stop)

    def _script(self, plan: Plan, row: Row, slot: _Slot) -> str:
        command = at_site(self.site_name, _command(plan, row, slot))
        return remote.script(slot.host.folder, command)


class _RowQueue:
    """Rows that hosts take, each as many at once as it may."""

    def __init__(self, rows: Sequence[Row], stop: StopRequest):
        self._left = list(rows)
        self._at_work: list[Row] = []
        self._changed = threading.Condition()
        self._stop = stop

    def take(self, host: SshHost) -> Row | None:
        """The next row that fits the host; None when there will be none."""
        with self._changed:
            while not self._stop.requested:
                row = next((row for row in self._left if _fits(host, row)), None)
                if row:
                    self._left.remove(row)
                    self._at_work.append(row)
                    return row
                # What is at work elsewhere comes back if that host fails.
                if not self._at_work:
                    return None
                self._changed.wait(POLL_SECONDS)
        return None

    def put_down(self, row: Row, again: bool) -> None:
        """The host has ended its work at the row, which another is to do `again`."""
        with self._changed:
            if again:
                self._left.insert(0, row)
            self._at_work.remove(row)
            self._changed.notify_all()


def _slots(host: SshHost) -> list[_Slot]:
    """One for each row that the host runs at once."""
    return [_Slot(host, device) for device in host.devices] or [_Slot(host)] * host.jobs


def _fits(host: SshHost, row: Row) -> bool:
    wanted = row.parameters.get("gpu")
    return not wanted or not host.gpu or str(wanted).lower() == host.gpu.lower()


def _command(plan: Plan, row: Row, slot: _Slot) -> str:
    host = slot.host
    inputs = RowInputs(host.data, tuple(host.scenes))
    arguments = ["run", f"runs/{plan.name}", "--index", str(row.index), *inputs.arguments()]
    command = f"{host.command} {command_line(arguments)}"
    if slot.device is not None:
        command = f"CUDA_VISIBLE_DEVICES={shlex.quote(str(slot.device))} {command}"
    return command
