"""Rows on hosts reached by OpenSSH: plan and earlier work go there, results come back.

Only `ssh` and `tar` are needed on either side. A row saves and stops when the connection to it
ends, whatever ended it.
"""

import contextlib
import logging
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from cloudmask.config.yaml_model import Positive, Section
from cloudmask.errors import Fault, InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors.executor import (
    Executor,
    Launch,
    RowInputs,
    SubmitRequest,
    command_line,
    outcome,
)
from cloudmask.experiments.plan import NAME, Plan, Row
from cloudmask.record.run_directory import CHECKPOINTS, LOCK, MODEL, RESULT
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.2
FETCH_SECONDS = 20.0  # between two looks at a running row, for status
HEAVY = (CHECKPOINTS, MODEL, RESULT)  # fetched when the row ends
UNREACHABLE = 255  # exit code of ssh itself

# The row runs beside a reader of the connection; when that ends, the row gets SIGTERM.
_REMOTE = """\
cd {folder} || exit 2
{command} </dev/null & row=$!
{{ cat >/dev/null 2>&1; kill -TERM $row 2>/dev/null; }} <&3 3<&- >/dev/null 2>&1 & reader=$!
exec 3<&-
wait $row; code=$?
kill $reader 2>/dev/null
exit $code
"""

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


class Ssh(Executor):
    """The hosts of a site file."""

    site_model = SshSite
    attended = True

    def __init__(self, site: str, request: SubmitRequest):
        super().__init__(site, request)
        self._site = sites.read(sites.find(site), SshSite)

    def launches(self, plan: Plan, rows: Sequence[Row]) -> list[Launch]:
        """The command of each row on the first host that fits it, though another may run it."""
        return [Launch((row,), self._command(plan, row)) for row in rows]

    def _command(self, plan: Plan, row: Row) -> tuple[str, ...]:
        host = next((host for host in self._site.hosts if _fits(host, row)), None)
        if host is None:
            gpu = row.parameters["gpu"]
            raise InputError(f"row {row.index}: no host of {self.site_name} has gpu {gpu}")
        return ("ssh", *self._site.options, host.host, _script(plan, row, host).strip())

    def start(self, plan: Plan, launches: Sequence[Launch], stop: StopRequest) -> dict[int, int]:
        """Run the rows and fetch them; logs which hosts could not be used."""
        queue = _RowQueue([row for launch in launches for row in launch.rows], stop)
        codes: dict[int, int] = {}
        troubles: list[str] = []

        def work(host: SshHost, device: int | str | None) -> None:
            while row := queue.take(host):
                logger.info(f"row {row.index}: started on {host.host}")
                ended = False
                try:
                    codes[row.index] = _RemoteRow(self._site, host, plan, row).run(device, stop)
                    ended = True
                    logger.info(f"row {row.index}: {outcome(codes[row.index])}")
                except (OSError, subprocess.SubprocessError, Fault, tarfile.TarError) as error:
                    troubles.append(f"{host.host}: {error}; its rows are left to the other hosts")
                    return
                finally:
                    queue.put_down(row, again=not ended)

        threads = [
            threading.Thread(target=work, args=(host, device))
            for host in self._site.hosts
            for device in _slots(host)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for trouble in troubles:
            logger.warning(trouble)
        return codes


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


class _RemoteRow:
    """One row on one host."""

    def __init__(self, site: SshSite, host: SshHost, plan: Plan, row: Row):
        self._host = host
        self._plan = plan
        self._row = row
        self._folder = f"{host.folder}/runs/{plan.name}"
        # Without questions, since a host that asks for a password must fail at once.
        self._ssh = ["ssh", "-o", "BatchMode=yes", *site.options, host.host]

    def run(self, device: int | str | None, stop: StopRequest) -> int:
        """Execute to its end, fetching what it leaves; returns its exit code."""
        self._send()
        logs = self._plan.folder / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{self._row.index:04d}.log"
        script = "exec 3<&0\n" + _script(self._plan, self._row, self._host, device)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self._ssh, f"sh -c {shlex.quote(script)}"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._attend(process, stop)
        if process.returncode == UNREACHABLE:
            raise Fault(f"the connection failed: see {log}")
        self._fetch_all()
        return process.returncode

    def _attend(self, process: subprocess.Popen, stop: StopRequest) -> None:
        """Wait for the end, now and then fetching what status looks at."""
        waited = 0.0
        while process.poll() is None:
            if stop.requested and process.stdin and not process.stdin.closed:
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(POLL_SECONDS)
            waited += POLL_SECONDS
            if waited >= FETCH_SECONDS:
                waited = 0.0
                with contextlib.suppress(Fault, tarfile.TarError, OSError):
                    self._fetch(self._plan.folder, HEAVY)

    def _send(self) -> None:
        """The plan, and the row's run directory if it was begun here."""
        run = self._plan.run(self._row).path
        names = [NAME, *([self._row.directory] if run.exists() else [])]
        folder = shlex.quote(self._folder)
        # What is there already is newer: this row may have run there before.
        unpack = f"mkdir -p {folder} && tar -C {folder} -xf - --skip-old-files"
        tar = subprocess.Popen(
            ["tar", "-C", self._plan.folder, f"--exclude={LOCK}", "-cf", "-", *names],
            stdout=subprocess.PIPE,
        )
        done = subprocess.run(
            [*self._ssh, f"rm -f {folder}/{NAME}; {unpack}"],
            stdin=tar.stdout,
            capture_output=True,
            text=True,
        )
        if tar.wait() or done.returncode:
            raise Fault(" ".join(done.stderr.split()) or "the plan could not be sent")

    def _fetch_all(self) -> None:
        """Replace the run directory here by what is there now."""
        incoming = self._plan.folder / f".incoming-{self._row.index}"
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.mkdir()
        self._fetch(incoming)
        run = self._plan.run(self._row).path
        old = self._plan.folder / f".old-{self._row.index}"
        if run.exists():
            run.rename(old)
        (incoming / self._row.directory).rename(run)
        shutil.rmtree(old, ignore_errors=True)
        incoming.rmdir()

    def _fetch(self, into: Path, without: Sequence[str] = ()) -> None:
        excluded = "".join(f" --exclude={name}" for name in without)
        command = (
            f"tar -C {shlex.quote(self._folder)}{excluded} -cf - {shlex.quote(self._row.directory)}"
        )
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen([*self._ssh, command], stdout=subprocess.PIPE, stderr=errors)
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                    archive.extractall(into, filter="data")
            finally:
                if process.stdout:
                    process.stdout.close()
                code = process.wait()
            errors.seek(0)
            reason = errors.read().decode(errors="replace")
        # tar ends with 1 when a file changed while it was read: the next look gets it whole.
        if code > 1:
            raise Fault(f"fetching failed: {' '.join(reason.split())}")


def _slots(host: SshHost) -> list[int | str | None]:
    """A GPU for each row at once, None where the host may choose."""
    return [*host.devices] or [None] * host.jobs


def _fits(host: SshHost, row: Row) -> bool:
    wanted = row.parameters.get("gpu")
    return not wanted or not host.gpu or str(wanted).lower() == host.gpu.lower()


def _script(plan: Plan, row: Row, host: SshHost, device: int | str | None = None) -> str:
    inputs = RowInputs(host.data, tuple(host.scenes))
    arguments = ["run", f"runs/{plan.name}", "--index", str(row.index), *inputs.arguments()]
    command = f"{host.command} {command_line(arguments)}"
    if device is not None:
        command = f"CUDA_VISIBLE_DEVICES={shlex.quote(str(device))} {command}"
    return _REMOTE.format(folder=shlex.quote(host.folder), command=command)
