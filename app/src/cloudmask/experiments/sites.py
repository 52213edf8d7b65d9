"""What differs between clusters, read from slurm/sites: options of sbatch, places, modules."""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cloudmask.config.settings import Positive, Section
from cloudmask.errors import InputError
from cloudmask.experiments.executors import site

# --export is a list between commas, and a value goes into it as it is.
Place = Annotated[str, Field(pattern=r"^[^,\n]*$")]


class Gpu(Section):
    """A kind of GPU (or "cpu") as this cluster asks for it.

    gres: without the number, such as gpu:v100; empty where no GPU is meant. device: what the
    preflight insists on; by default a GPU where there is a gres.
    """

    gres: str = Field("", pattern=r"^[A-Za-z0-9_.:-]*$")
    constraint: str = ""
    partition: str = Field("", description="instead of the site's")
    image: Place = "cloudmask.sif"
    device: Literal["", "gpu", "cpu"] = ""
    options: list[str] = Field([], description="more of sbatch")


class Site(Section):
    """A cluster under Slurm; a value may hold variables of the job, such as $SLURM_TMPDIR.

    local: node-local directories, the first that can be used is taken; empty: data is read where
    it lies. overlay, scenes: on the shared file system. modules: loaded before anything runs.
    """

    executor: Literal["slurm"] = "slurm"
    partition: str = ""
    account: str = ""
    account_required: bool = False
    time: str = Field("24:00:00", pattern=r"^(\d+-)?\d+(:\d\d){0,2}$")
    cpus: Positive = 8
    memory: str = Field("", pattern=r"^(\d+[KMGT]?)?$", description="of a node, as --mem has it")
    warn_seconds: int = Field(300, ge=0, description="warning before the time limit")
    gpus: dict[str, Gpu] = Field(min_length=1)
    modules: list[Place] = Field([])
    local: list[Place] = Field([])
    overlay: Place = "patches.ext3"
    scenes: Place = ""
    options: list[str] = Field([], description="more of sbatch")
    unverified: list[str] = Field([], description="keys that nobody could try on the cluster")

    def gpu(self, name: str | None) -> Gpu:
        """The entry of a GPU; None is the only one there is. Raises InputError."""
        known = ", ".join(self.gpus)
        if name is None:
            if len(self.gpus) > 1:
                raise InputError(f"--gpu: expected one of {known}")
            return next(iter(self.gpus.values()))
        if name not in self.gpus:
            raise InputError(f"--gpu {name}: not at this site; expected one of {known}")
        return self.gpus[name]

    def environment(self, gpu: str | None, image: str = "") -> dict[str, str]:
        """The variables that the job scripts work by; slurm/lib/environment.sh reads them.

        `image` instead of the GPU's own.
        """
        chosen = self.gpu(gpu)
        return {
            "CLOUDMASK_IMAGE": image or chosen.image,
            "CLOUDMASK_DEVICE": chosen.device or ("gpu" if chosen.gres else "cpu"),
            "CLOUDMASK_OVERLAY": self.overlay,
            "CLOUDMASK_SCENES": self.scenes,
            "CLOUDMASK_LOCAL": " ".join(self.local),
            "CLOUDMASK_MODULES": " ".join(self.modules),
        }

    def sbatch(self, gpu: str | None, gpus: int = 1, nodes: int = 1, image: str = "") -> list[str]:
        """Options of sbatch for `nodes` nodes with `gpus` GPUs each; raises InputError."""
        chosen = self.gpu(gpu)
        if self.account_required and not (self.account or os.environ.get("SBATCH_ACCOUNT")):
            raise InputError(
                "this site wants an account: export SBATCH_ACCOUNT=yours, or account: in its file"
            )
        partition = chosen.partition or self.partition
        values = self.environment(gpu, image)
        variables = ",".join(f"{name}={value}" for name, value in values.items())
        return [
            *([f"--account={self.account}"] if self.account else []),
            *([f"--partition={partition}"] if partition else []),
            *([f"--nodes={nodes}", "--ntasks-per-node=1"] if nodes > 1 else []),
            *([f"--gres={chosen.gres}:{gpus}"] if chosen.gres else []),
            *([f"--constraint={chosen.constraint}"] if chosen.constraint else []),
            f"--cpus-per-task={self.cpus}",
            *([f"--mem={self.memory}"] if self.memory else []),
            f"--time={self.time}",
            f"--signal=B:USR1@{self.warn_seconds}",
            *self.options,
            *chosen.options,
            f"--export=ALL,{variables}",
        ]

    def sbatch_without_gpu(self, gpu: str | None) -> list[str]:
        """Options of sbatch for work with this GPU's image that needs none.

        As the site's "cpu" asks; where it has no such entry, as the GPU does.
        """
        return self.sbatch("cpu" if "cpu" in self.gpus else gpu, image=self.gpu(gpu).image)


def load(name_or_path: str | Path) -> Site:
    """The site of a file, or of that name under slurm/sites; raises InputError."""
    path = site.find(str(name_or_path))
    found = site.read(path, Site)
    unknown = [key for key in found.unverified if not _is_key(key)]
    if unknown:
        raise InputError(f"{path}: unverified: {unknown[0]!r} is no key of a site")
    return found


def _is_key(key: str) -> bool:
    return re.split(r"[.\s]", key)[0] in Site.model_fields
