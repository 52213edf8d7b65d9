"""Who starts rows: this machine, Slurm, LSF, or hosts reached by ssh; all leave the same files.

Adding one is adding a module with a subclass of `executor.Executor`, and a line here.
"""

from cloudmask.experiments.executors.executor import Executor
from cloudmask.experiments.executors.local import Local
from cloudmask.experiments.executors.lsf import Lsf
from cloudmask.experiments.executors.slurm import Slurm
from cloudmask.experiments.executors.ssh import Ssh

# By the name that a site file gives as `executor:`.
EXECUTORS: dict[str, type[Executor]] = {"local": Local, "slurm": Slurm, "lsf": Lsf, "ssh": Ssh}
