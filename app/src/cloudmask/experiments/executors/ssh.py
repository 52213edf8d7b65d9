"""Rows on hosts reached by OpenSSH: plan and earlier work go there, results come back.

Only `ssh` and `tar` are needed on either side. A row is told to save and stop when the connection
to it ends, whatever ended it.
"""

import contextlib
import shlex
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Sequence
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.experiments.executors import Work, shown, word
from cloudmask.experiments.executors.site import Host, SshSite, find, read
from cloudmask.experiments.plan import NAME, Plan, Row
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.2
FETCH_SECONDS = 20.0  # between two looks at a running row, for status
HEAVY = ("checkpoints", "model.keras", "result.json")  # fetched when the row ends
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


class Ssh:
    """The hosts of a site's file; raises InputError if that cannot be used."""

    def __init__(self, name: str):
        self._name = name
        self._site = read(find(name), SshSite)

    def check(self, rows: Sequence[Row]) -> None:
        """Raise InputError if no host has the GPU that a row asks for."""
        for row in rows:
            if not any(_fits(host, row) for host in self._site.hosts):
                gpu = row.parameters["gpu"]
                raise InputError(f"row {row.index}: no host of {self._name} has gpu {gpu}")

    def command(self, plan: Plan, row: Row) -> list[str]:
        """The command line of one row, on the first host that fits it."""
        host = next(host for host in self._site.hosts if _fits(host, row))
        return ["ssh", *self._site.options, host.host, _script(plan, row, host).strip()]

    def execute(self, plan: Plan, rows: Sequence[Row], stop: StopRequest) -> dict[int, int]:
        """Run the rows and fetch them; returns exit codes of those that could be run.

        Once a stop is requested the running rows save their state and no other is started.
        Prints which hosts could not be used.
        """
        left = list(rows)
        at_work: list[Row] = []
        changed = threading.Condition()
        codes: dict[int, int] = {}
        troubles: list[str] = []

        def take(host: Host) -> Row | None:
            with changed:
                while not stop.requested:
                    row = next((row for row in left if _fits(host, row)), None)
                    if row:
                        left.remove(row)
                        at_work.append(row)
                        return row
                    # What is at work elsewhere comes back if that host fails.
                    if not at_work:
                        return None
                    changed.wait(POLL_SECONDS)
            return None

        def work(host: Host, device: int | str | None) -> None:
            while row := take(host):
                print(f"row {row.index}: started on {host.host}", flush=True)
                try:
                    codes[row.index] = _Remote(self._site, host, device, plan, row).run(stop)
                    print(f"row {row.index}: {word(codes[row.index])}", flush=True)
                except (OSError, subprocess.SubprocessError, Fault, tarfile.TarError) as error:
                    troubles.append(f"{host.host}: {error}; its rows are left to the other hosts")
                    with changed:
                        left.insert(0, row)
                    return
                finally:
                    with changed:
                        at_work.remove(row)
                        changed.notify_all()

        threads = [
            threading.Thread(target=work, args=(host, device))
            for host in self._site.hosts
            for device in host.devices or [None] * host.jobs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for trouble in troubles:
            print(trouble)
        return codes


class _Remote:
    """One row on one host."""

    def __init__(self, site: SshSite, host: Host, device: int | str | None, plan: Plan, row: Row):
        self._host = host
        self._device = device
        self._plan = plan
        self._row = row
        self._folder = f"{host.folder}/runs/{plan.name}"
        # No questions: a host that wants a password must fail at once.
        self._ssh = ["ssh", "-o", "BatchMode=yes", *site.options, host.host]

    def run(self, stop: StopRequest) -> int:
        """Execute to its end, fetching what it leaves; returns its exit code."""
        self._send()
        logs = self._plan.folder / "logs"
        logs.mkdir(exist_ok=True)
        script = "exec 3<&0\n" + _script(self._plan, self._row, self._host, self._device)
        with (logs / f"{self._row.index:04d}.log").open("ab") as log:
            process = subprocess.Popen(
                [*self._ssh, f"sh -c {shlex.quote(script)}"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
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
        if process.returncode == UNREACHABLE:
            raise Fault(f"the connection failed: see {logs / f'{self._row.index:04d}.log'}")
        self._fetch_all()
        return process.returncode

    def _send(self) -> None:
        """The plan, and the row's run directory if it was begun here."""
        run = self._plan.run(self._row)
        names = [NAME, *([self._row.directory] if run.exists() else [])]
        folder = shlex.quote(self._folder)
        # What is there already is newer: this row may have run there before.
        unpack = f"mkdir -p {folder} && tar -C {folder} -xf - --skip-old-files"
        tar = subprocess.Popen(
            ["tar", "-C", self._plan.folder, "--exclude=.lock", "-cf", "-", *names],
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
        run = self._plan.run(self._row)
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
        process = subprocess.Popen(
            [*self._ssh, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
                archive.extractall(into, filter="data")
        finally:
            process.stdout.close()
            errors = process.stderr.read().decode(errors="replace")
            code = process.wait()
        # tar ends with 1 when a file changed while it was read: the next look gets it whole.
        if code > 1:
            raise Fault(f"fetching failed: {' '.join(errors.split())}")


def _fits(host: Host, row: Row) -> bool:
    wanted = row.parameters.get("gpu")
    return not wanted or not host.gpu or str(wanted).lower() == host.gpu.lower()


def _script(plan: Plan, row: Row, host: Host, device: int | str | None = None) -> str:
    place = f"runs/{plan.name}"
    words = ["run", place, "--index", str(row.index)]
    words += Work(host.data, tuple(host.scenes)).arguments()
    command = f"{host.command} {shown(words)}"
    if device is not None:
        command = f"CUDA_VISIBLE_DEVICES={shlex.quote(str(device))} {command}"
    return _REMOTE.format(folder=shlex.quote(host.folder), command=command)
