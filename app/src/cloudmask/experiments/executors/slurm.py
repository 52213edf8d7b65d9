"""Rows as job arrays of Slurm; all that the project asks `sbatch` for is put together here."""

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator

from cloudmask.config.yaml_model import Positive, Section
from cloudmask.errors import InputError
from cloudmask.experiments import sites
from cloudmask.experiments.executors.batch import BatchSystem
from cloudmask.experiments.executors.executor import Allocation, Launch, SubmitRequest
from cloudmask.experiments.plan import Plan, Row, ranges
from cloudmask.record.job_files import SITE as SITE_VARIABLE

TRAIN = Path("slurm/train.sbatch")
EXCLUSIVE = "--exclusive"
ANSWER_SECONDS = 30  # that a controller may take to answer

# --export is a list between commas, and a value goes into it as it is.
Exported = Annotated[str, Field(pattern=r"^[^,\n]*$")]


class SlurmGpu(Section):
    """A kind of GPU (or "cpu") as this cluster asks for it."""

    gres: str = Field(
        "",
        pattern=r"^[A-Za-z0-9_.:-]*$",
        description="as `--gres` has it, without the number, such as gpu:v100; empty: no GPU",
    )
    constraint: str = Field("", description="as `--constraint` has it")
    partition: str = Field("", description="instead of the site's")
    image: Exported = Field("cloudmask.sif", description="container image for this GPU")
    device: Literal["", "gpu", "cpu"] = Field(
        "", description="what the preflight insists on; empty: a GPU where there is a gres"
    )
    options: list[str] = Field([], description="further options of sbatch")


class SlurmSite(Section):
    """A cluster under Slurm; a value may hold variables of the job, such as $SLURM_TMPDIR."""

    executor: Literal["slurm"] = Field("slurm", description="who starts rows")
    partition: str = Field("", description="as `--partition` has it; empty: the cluster's default")
    account: str = Field("", description="as `--account` has it; SBATCH_ACCOUNT serves as well")
    account_required: bool = Field(False, description="refuse to submit without an account")
    time: str = Field(
        "24:00:00", pattern=r"^(\d+-)?\d+(:\d\d){0,2}$", description="limit, as `--time` has it"
    )
    cpus: Positive = Field(8, description="processors of a node for a row")
    memory: str = Field("", pattern=r"^(\d+[KMGT]?)?$", description="of a node, as `--mem` has it")
    warn_seconds: int = Field(300, ge=0, description="SIGUSR1 comes so long before the time limit")
    gpus: dict[str, SlurmGpu] = Field(
        min_length=1, description="what --gpu may name, and how the cluster asks for it"
    )
    modules: list[Exported] = Field([], description="modules to load before anything runs")
    local: list[Exported] = Field(
        [],
        description="node-local directories, the first usable one is taken; empty: data is read "
        "where it lies",
    )
    overlay: Exported = Field("patches.ext3", description="overlay image on the shared file system")
    scenes: Exported = Field("", description="scenes to evaluate on; empty: those in the overlay")
    clear_caches: Exported = Field(
        "store",
        min_length=1,
        description="before a training: `store` drops the patch store from the page cache, `none` "
        "does nothing, anything else is a command of the node for all its caches, without a shell",
    )
    exclusive: bool = Field(
        False, description="ask for whole nodes (`--exclusive`), except for preparing the patches"
    )
    options: list[str] = Field([], description="further options of sbatch")
    unverified: list[str] = Field([], description="keys that nobody could try on the cluster")

    _name: str = PrivateAttr("")  # as the user named the site; jobs record it

    @field_validator("unverified")
    @classmethod
    def _names_keys(cls, unverified: list[str]) -> list[str]:
        for key in unverified:
            # Such as gpus.a100.constraint, or with a remark after it.
            if re.split(r"[.\s]", key)[0] not in cls.model_fields:
                raise ValueError(f"{key!r} is no key of a site")
        return unverified

    def named(self, name: str) -> "SlurmSite":
        """The same site with its name; raises InputError if `--export` cannot hand that on."""
        if "," in name or "\n" in name:
            raise InputError(f"--site {name!r}: expected a name without a comma or line break")
        copy = self.model_copy()
        copy._name = name
        return copy

    def gpu(self, name: str | None) -> SlurmGpu:
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
            "CLOUDMASK_CLEAR_CACHES": self.clear_caches,
            SITE_VARIABLE: self._name,
        }

    def options_for(
        self, gpu: str | None, allocation: Allocation | None = None, image: str = ""
    ) -> list[str]:
        """Options of sbatch, by default for one GPU of one node; raises InputError."""
        allocation = allocation or Allocation()
        chosen = self.gpu(gpu)
        if self.account_required and not (self.account or os.environ.get("SBATCH_ACCOUNT")):
            raise InputError(
                "this site requires an account: export SBATCH_ACCOUNT=yours, or account: in its "
                "file"
            )
        partition = chosen.partition or self.partition
        values = self.environment(gpu, image)
        variables = ",".join(f"{name}={value}" for name, value in values.items())
        nodes = [f"--nodes={allocation.nodes}", "--ntasks-per-node=1"]
        return [
            *([f"--account={self.account}"] if self.account else []),
            *([f"--partition={partition}"] if partition else []),
            *(nodes if allocation.nodes > 1 else []),
            *([f"--gres={chosen.gres}:{allocation.gpus}"] if chosen.gres else []),
            *([f"--constraint={chosen.constraint}"] if chosen.constraint else []),
            f"--cpus-per-task={self.cpus}",
            *([f"--mem={self.memory}"] if self.memory else []),
            f"--time={self.time}",
            f"--signal=B:USR1@{self.warn_seconds}",
            *([EXCLUSIVE] if self.exclusive else []),
            *self.options,
            *chosen.options,
            f"--export=ALL,{variables}",
        ]

    def options_without_gpu(self, gpu: str | None) -> list[str]:
        """Options of sbatch for work with this GPU's image that needs none.

        As the site's "cpu" asks; where it has no such entry, as the GPU does.
        """
        image = self.gpu(gpu).image
        options = self.options_for("cpu" if "cpu" in self.gpus else gpu, image=image)
        # Nothing is measured there.
        return [option for option in options if option != EXCLUSIVE]


class Slurm(BatchSystem):
    """Job arrays by `sbatch`."""

    site_model = SlurmSite

    def __init__(self, site: str, request: SubmitRequest):
        super().__init__(site, request)
        self._site = load_site(site)

    def arrays(self, plan: Plan, rows: Sequence[Row], gpu: str) -> list[Launch]:
        """One array; raises InputError if Slurm takes no index that large."""
        options = self._site.options_for(gpu or None, self.request.allocation)
        script = array_script(plan, rows, TRAIN, self.request.experiment)
        return [Launch(tuple(rows), sbatch(options, script))]


def load_site(name_or_path: str | Path) -> SlurmSite:
    """The cluster of a site file, or of that name under slurm/sites/; raises InputError."""
    return sites.read(sites.find(name_or_path), SlurmSite).named(str(name_or_path))


def sbatch(options: Sequence[str], script: Sequence[str | Path]) -> tuple[str, ...]:
    """The command line: `script` is the job script, its own options before and arguments after."""
    return ("sbatch", *options, *map(str, script))


def array_script(
    plan: Plan, rows: Sequence[Row], script: Path, experiment: str, suffix: str = ""
) -> tuple[str, ...]:
    """A job script with the array of these rows; `suffix` belongs to the job's name.

    Raises InputError if Slurm takes no array index that large.
    """
    last, limit = max(row.index for row in rows), _array_size()
    if limit is not None and last >= limit:
        raise InputError(
            f"row {last}: arrays end at {limit - 1} here (MaxArraySize of scontrol show config); "
            "expected --index up to that, and the further rows in an experiment of another name"
        )
    array = f"--array={ranges([row.index for row in rows])}"
    return (f"--job-name={plan.name}{suffix}", array, str(script), experiment)


def _array_size() -> int | None:
    """Slurm's MaxArraySize, one more than the largest index; None if there is no answer."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"], capture_output=True, text=True, timeout=ANSWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return int(match[1]) if match else None
