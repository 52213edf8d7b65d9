"""Who else works on this node: other jobs, other users' processes, strangers on the GPUs.

A measurement on a shared node is worth less, and nothing in its figures shows that. What is kept
are numbers of jobs and counts of processes, never names of users or commands.

The job script asks Slurm, since a container has no `squeue`, and hands the numbers of the other
jobs on in `CLOUDMASK_OTHER_JOBS`. Beside that, or where there is no Slurm, processes are looked at.
A node that hides other users' processes (`hidepid`), and a Slurm that shows each user only their
own jobs (`PrivateData=jobs`), tell nothing: then nobody is seen, which does not mean that nobody
was there.
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

VARIABLE = "CLOUDMASK_OTHER_JOBS"
FIRST_USER = 1000  # smaller numbers are the system's own services
NOBODY = 65534
SECONDS = 0.3  # over which processor time is looked at
BUSY = 0.1  # processors that a process uses, below which it disturbs nobody
ANSWER_SECONDS = 10  # that a controller may take to answer


@dataclass(frozen=True)
class OtherJobs:
    """What was seen of others on this node.

    jobs: numbers of Slurm's other running jobs, None where nobody could ask. busy_processes: those
    of other users that use a processor. gpu_processes: those on the visible GPUs that are not this
    one, None without NVML.
    """

    jobs: tuple[str, ...] | None
    busy_processes: int
    gpu_processes: int | None

    @property
    def seen(self) -> bool:
        """Whether there is anybody."""
        return bool(self.jobs or self.busy_processes or self.gpu_processes)

    def merged(self, later: "OtherJobs") -> "OtherJobs":
        """All that was seen at two times."""
        jobs = None
        if self.jobs is not None or later.jobs is not None:
            jobs = tuple(dict.fromkeys([*(self.jobs or ()), *(later.jobs or ())]))
        counts = [n for n in (self.gpu_processes, later.gpu_processes) if n is not None]
        return OtherJobs(
            jobs, max(self.busy_processes, later.busy_processes), max(counts, default=None)
        )

    def described(self) -> dict[str, Any]:
        """As `result.json` and `provenance.json` have it."""
        return {
            "jobs": None if self.jobs is None else list(self.jobs),
            "busy_processes": self.busy_processes,
            "gpu_processes": self.gpu_processes,
        }


def look() -> OtherJobs:
    """Look once, which takes SECONDS; never raises for what a node does not tell."""
    return OtherJobs(_jobs(), _busy_processes(), _gpu_processes())


def _jobs() -> tuple[str, ...] | None:
    """Numbers of Slurm's other jobs here: asked now, else as the job script found them."""
    own, node = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURMD_NODENAME")
    if own and node and shutil.which("squeue"):
        command = ["squeue", "--noheader", f"--nodelist={node}", "--states=RUNNING", "--format=%A"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=True
            )
            return _numbers(done.stdout, own)
    text = os.environ.get(VARIABLE)
    return None if text is None else _numbers(text, own)


def _numbers(text: str, own: str | None) -> tuple[str, ...]:
    found = [word for word in text.split() if re.fullmatch(r"\d{1,12}", word) and word != own]
    return tuple(dict.fromkeys(found))


def _busy_processes() -> int:
    """Processes of other users that use more than BUSY of a processor."""
    import psutil

    def used() -> dict[int, float]:
        return {p.pid: sum(p.info["cpu_times"][:2]) for p in _foreign(psutil.process_iter(wanted))}

    wanted = ["uids", "cpu_times"]
    before, begun = used(), time.perf_counter()
    time.sleep(SECONDS)
    limit = BUSY * (time.perf_counter() - begun)
    return sum(seconds - before.get(pid, seconds) > limit for pid, seconds in used().items())


def _foreign(processes: Iterable[Any]) -> Iterable[Any]:
    own = os.getuid()
    for process in processes:
        user = process.info["uids"] and process.info["uids"].real
        people = user is not None and user >= FIRST_USER and user not in (own, NOBODY)
        if people and process.info["cpu_times"]:
            yield process


def _gpu_processes() -> int | None:
    """Other processes that compute on the visible GPUs; None where NVML does not tell.

    NVML numbers processes as the host does. Where this one sees only the processes of its container
    it cannot tell its own from others.
    """
    import psutil

    from cloudmask.hardware.gpus import Gpus

    gpus = Gpus()
    try:
        found = gpus.processes()
    finally:
        gpus.close()
    if found is None or not all(map(psutil.pid_exists, found)):
        return None
    return len(found - {os.getpid()})
