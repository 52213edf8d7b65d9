"""Site files of executors that know no Slurm: what they hold, and how to find them."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from cloudmask.config.settings import Section, read_yaml
from cloudmask.errors import InputError

FOLDER = Path("slurm/sites")
EXECUTORS = ("slurm", "lsf", "ssh")

Jobs = Annotated[int, Field(gt=0)]


class Host(Section):
    """A machine reached by OpenSSH; `host` is what `ssh` takes, the user's configuration counts.

    folder: where runs lie there; command: how cloudmask-grid is called there, by its shell; jobs:
    rows at once; devices: or one on each of these GPUs (as in CUDA_VISIBLE_DEVICES); data, scenes:
    as that machine sees them.
    """

    host: str = Field(pattern=r"^[^-\s][^\s]*$")
    folder: str
    command: str = "cloudmask-grid"
    data: str
    scenes: list[str] = Field([])
    jobs: Jobs = 1
    devices: list[int | str] = Field([])
    gpu: str = Field("", description="rows that ask for another GPU do not run here")


class SshSite(Section):
    """Hosts that share the rows."""

    executor: Literal["ssh"]
    options: list[str] = Field([], description="of ssh, such as -F FILE")
    hosts: list[Host] = Field(min_length=1)


class LsfSite(Section):
    """A cluster under LSF.

    command: how cloudmask-grid is called in a job, by its shell; gpus: GPU name here to the model
    name there; time: hours:minutes; warn_minutes: SIGUSR1 comes so long before the end.
    """

    executor: Literal["lsf"]
    queue: str = ""
    project: str = ""
    time: str = Field("24:00", pattern=r"^\d+:\d\d$")
    gpus: dict[str, str] = Field({})
    command: str = "cloudmask-grid"
    data: str = ""
    scenes: list[str] = Field([])
    options: list[str] = Field([], description="more of bsub")
    warn_minutes: Jobs = 10


def find(name_or_path: str) -> Path:
    """The site's file: a path, or a name under slurm/sites/; raises InputError."""
    for path in (Path(name_or_path), FOLDER / f"{name_or_path}.yaml"):
        if path.is_file():
            return path
    raise InputError(f"--site {name_or_path}: no such file, nor {FOLDER}/{name_or_path}.yaml")


def executor(path: Path) -> str:
    """Which executor the file is for; without `executor:` it is Slurm."""
    name = read_yaml(path).get("executor", "slurm")
    if name not in EXECUTORS:
        raise InputError(f"{path}: executor: {name!r}; expected one of {', '.join(EXECUTORS)}")
    return name


def read(path: Path, kind: type[Section]) -> Section:
    """The checked content; raises InputError that names file and key."""
    try:
        return kind.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise InputError(f"{path}: {key}: {first['msg']}, found {first['input']!r}") from None
