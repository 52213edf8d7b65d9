"""The one reader of site files: how to find one, which executor it is for, what it holds.

Job scripts read them through it as well, as `cloudmask-grid site` in the container.
"""

from pathlib import Path

from cloudmask.config.yaml_model import AnySection, load_model, read_yaml
from cloudmask.errors import InputError
from cloudmask.record import job_files


def find(name_or_path: str | Path) -> Path:
    """The site's file: a path, or a name under slurm/sites/; raises InputError."""
    paths = job_files.site_paths(name_or_path)
    for path in paths:
        if path.is_file():
            return path
    raise InputError(f"--site {name_or_path}: no such file, nor {paths[1]}")


def executor(path: Path) -> str:
    """The name of the executor that the file is for; without `executor:` it is Slurm."""
    return str(read_yaml(path).get("executor", "slurm"))


def read(path: Path, model: type[AnySection]) -> AnySection:
    """The checked content; raises InputError that names the file and every wrong key."""
    return load_model(path, model)
