"""One row on a machine that is reached by `ssh`: sent there, attended to its end, fetched."""

import contextlib
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cloudmask.errors import Fault
from cloudmask.experiments.plan import NAME, Plan, Row
from cloudmask.record import job_files
from cloudmask.record.run_directory import CHECKPOINTS, LOCK, MODEL, RESULT, RunDirectory
from cloudmask.system import files, process
from cloudmask.system.signals import StopRequest

POLL_SECONDS = 0.2
FETCH_SECONDS = 20.0  # between two looks at a running row, for status
HEAVY = (CHECKPOINTS, MODEL, RESULT)  # fetched when the row ends
UNREACHABLE = 255  # exit code of ssh itself
# Of what comes back for a row; the state of the largest network is some 6 GB.
MOST_BYTES, MOST_FILES = 64 << 30, 100_000

# The row runs beside a reader of the connection; when that ends, the row gets SIGTERM.
_SCRIPT = """\
cd {folder} || exit 2
{command} </dev/null & row=$!
{{ cat >/dev/null 2>&1; kill -TERM $row 2>/dev/null; }} <&3 3<&- >/dev/null 2>&1 & reader=$!
exec 3<&-
wait $row; code=$?
kill $reader 2>/dev/null
exit $code
"""
# Standard input is the connection.
_CONNECTED = "exec 3<&0\n"


def script(folder: str, command: str) -> str:
    """A script for the shell there: runs the command in that folder while file 3 is open."""
    return _SCRIPT.format(folder=shlex.quote(folder), command=command)


class _RowFiles:
    """A filter of tar members, which a host has named: files and folders of one row's run alone.

    The folder that they are unpacked in also holds the plan and the other rows.
    """

    def __init__(self, directory: str):
        self._directory = directory
        self._bytes = self._files = 0

    def __call__(self, member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
        """The member as it may be unpacked below `path`; raises Fault or tarfile.FilterError."""
        top, *below = member.name.split("/")
        fits = member.isdir() or (member.isreg() and below)
        if top != self._directory or ".." in below or not fits:
            raise Fault(
                f"fetching failed: the host sent {member.name[:100]!a}; "
                f"expected files and folders of {self._directory}"
            )
        self._bytes += member.size
        self._files += 1
        if self._bytes > MOST_BYTES or self._files > MOST_FILES:
            raise Fault(
                f"fetching failed: the host sent more than {MOST_BYTES >> 30} GiB or "
                f"{MOST_FILES:,} files; expected a run directory"
            )
        return tarfile.data_filter(member, path)


class RemoteRow:
    """A row whose runs lie in `folder`/runs there; `ssh` is the command line up to the host.

    site: the site's file here, which the host does not see: the run that comes back gets a copy.
    """

    def __init__(self, ssh: Sequence[str], folder: str, plan: Plan, row: Row, site: Path):
        self._ssh = list(ssh)
        self._folder = f"{folder}/runs/{plan.name}"
        self._plan = plan
        self._row = row
        self._site = site

    def run(self, script: str, stop: StopRequest) -> int:
        """Execute the script to its end, fetching what it leaves; returns its exit code."""
        self._send()
        logs = self._plan.folder / "logs"
        logs.mkdir(exist_ok=True)
        log = logs / f"{self._row.index:04d}.log"
        with log.open("ab") as output:
            ssh = subprocess.Popen(
                [*self._ssh, f"sh -c {shlex.quote(_CONNECTED + script)}"],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Its input ends with this process. Then it stays until the row has saved, which
                # could not print any more if the connection were cut.
                start_new_session=True,
            )
            self._attend(ssh, stop)
        if ssh.returncode == UNREACHABLE:
            raise Fault(f"the connection failed: see {log}")
        self._fetch_all()
        return ssh.returncode

    def _attend(self, ssh: subprocess.Popen, stop: StopRequest) -> None:
        """Wait for the end, now and then fetching what status looks at."""
        waited = 0.0
        while ssh.poll() is None:
            if stop.requested and ssh.stdin and not ssh.stdin.closed:
                ssh.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                ssh.wait(POLL_SECONDS)
            waited += POLL_SECONDS
            if waited >= FETCH_SECONDS:
                waited = 0.0
                with contextlib.suppress(Fault, tarfile.TarError, OSError):
                    self._fetch(self._plan.folder, HEAVY)

    def _send(self) -> None:
        """The plan, and the row's run directory if it was begun here."""
        self._recover()
        run = self._plan.run(self._row).path
        names = [NAME, *([self._row.directory] if run.exists() else [])]
        folder = shlex.quote(self._folder)
        # What is there already is newer: this row may have run there before.
        unpack = f"mkdir -p {folder} && tar -C {folder} -xf - --skip-old-files"
        tar = process.start(
            ["tar", "-C", self._plan.folder, f"--exclude={LOCK}", "-cf", "-", *names],
            signal.SIGKILL,
            stdout=subprocess.PIPE,
        )
        done = process.run(
            [*self._ssh, f"rm -f {folder}/{NAME}; {unpack}"],
            signal.SIGTERM,
            stdin=tar.stdout,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if tar.wait() or done.returncode:
            raise Fault(" ".join(done.stderr.split()) or "the plan could not be sent")

    def _fetch_all(self) -> None:
        """Replace the run directory here by what is there now."""
        run = self._plan.run(self._row).path
        self._recover()
        with files.scratch_folder(run) as incoming:
            self._fetch(incoming)
            job_files.keep_site(RunDirectory(incoming / self._row.directory), self._site)
            if run.exists():
                run.rename(self._old)
            (incoming / self._row.directory).rename(run)
            files.sync_folder(run.parent)
        self._recover()

    @property
    def _old(self) -> Path:
        """Where the run directory is while a newer one takes its name."""
        return self._plan.folder / f".old-{self._row.index}"

    def _recover(self) -> None:
        """Bring back the run directory that a killed executor has moved, or remove it if older."""
        run = self._plan.run(self._row).path
        if self._old.is_dir() and not run.exists():
            self._old.rename(run)
        shutil.rmtree(self._old, ignore_errors=True)

    def _fetch(self, into: Path, without: Sequence[str] = ()) -> None:
        excluded = "".join(f" --exclude={name}" for name in without)
        command = (
            f"tar -C {shlex.quote(self._folder)}{excluded} -cf - {shlex.quote(self._row.directory)}"
        )
        with tempfile.TemporaryFile() as errors:
            ssh = process.start(
                [*self._ssh, command], signal.SIGTERM, stdout=subprocess.PIPE, stderr=errors
            )
            try:
                with tarfile.open(fileobj=ssh.stdout, mode="r|") as archive:
                    archive.extractall(into, filter=_RowFiles(self._row.directory))
            finally:
                if ssh.stdout:
                    ssh.stdout.close()
                code = ssh.wait()
            errors.seek(0)
            reason = errors.read().decode(errors="replace")
        # tar ends with 1 when a file changed while it was read: the next look gets it whole.
        if code > 1:
            raise Fault(f"fetching failed: {' '.join(reason.split())}")
