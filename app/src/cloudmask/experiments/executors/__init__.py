"""Who starts rows: this machine, Slurm, LSF, or hosts reached by ssh; all leave the same files.

Adding one is adding a module with a subclass of `executor.Executor`, and a line here.
"""

from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors.executor import Executor
from cloudmask.experiments.executors.local import Local
from cloudmask.experiments.executors.lsf import Lsf
from cloudmask.experiments.executors.slurm import Slurm
from cloudmask.experiments.executors.ssh import Ssh

# By the name that a site file gives as `executor:`.
EXECUTORS: dict[str, type[Executor]] = {"local": Local, "slurm": Slurm, "lsf": Lsf, "ssh": Ssh}


def executor_of(site: Path) -> str:
    """The name of the executor that a site file is for; raises InputError if there is none."""
    kind = sites.executor(site)
    known = [name for name, executor in EXECUTORS.items() if executor.site_model]
    if kind not in known:
        raise InputError(f"{site}: executor: {kind!r}; expected one of {', '.join(known)}")
    return kind
