"""What batch systems have in common: rows are arrays, and a command hands them over.

PSI/J, the library for many schedulers, was looked at (0.9.11): it has no job arrays.
"""

import logging
import re
import subprocess
from abc import abstractmethod
from collections.abc import Sequence

from cloudmask.errors import Fault, InputError
from cloudmask.experiments import submissions
from cloudmask.experiments.executors.executor import Executor, Launch, command_line
from cloudmask.experiments.plan import Plan, Row
from cloudmask.system.signals import StopRequest

logger = logging.getLogger(__name__)


class BatchSystem(Executor):
    """Rows as job arrays: all rows with the same GPU make one."""

    attended = False

    def launches(self, plan: Plan, rows: Sequence[Row]) -> list[Launch]:
        """One or several arrays for each GPU."""
        groups: dict[str, list[Row]] = {}
        for row in rows:
            gpu = str(row.parameters.get("gpu", self.request.gpu))
            groups.setdefault(gpu, []).append(row)
        return [launch for gpu, group in groups.items() for launch in self.arrays(plan, group, gpu)]

    @abstractmethod
    def arrays(self, plan: Plan, rows: Sequence[Row], gpu: str) -> list[Launch]:
        """The arrays of rows that run on this GPU."""

    def start(self, plan: Plan, launches: Sequence[Launch], stop: StopRequest) -> dict[int, int]:
        """Hand the arrays over and note their jobs' numbers; no row ends here."""
        for launch in launches:
            logger.info(command_line(launch.command))
            (plan.folder / "logs").mkdir(exist_ok=True)
            answer = submit(launch.command)
            logger.info(answer)
            number = re.search(r"\d+", answer)
            job = number[0] if number else "unknown"
            submissions.record(plan, self.site_name, job, [row.index for row in launch.rows])
        return {}


def submit(command: Sequence[str], job: str = "") -> str:
    """Run a submitting command and return what it printed; `job` names in errors what it was for.

    Raises InputError if there is no such command, Fault if the scheduler refuses.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise InputError(f"{command[0]}: no such command; expected to be on the cluster") from None
    if done.returncode:
        reason = " ".join((done.stderr or done.stdout).split())
        before = f"{job}: " if job else ""
        raise Fault(f"{before}{command[0]} refused (exit code {done.returncode}): {reason}")
    if warnings := done.stderr.strip():
        logger.warning(warnings)
    return done.stdout.strip()
