"""Where a result comes from: software, source, machine, job and data of a run."""

import contextlib
import datetime
import getpass
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import cloudmask
from cloudmask.errors import InputError
from cloudmask.hardware.gpus import Gpus
from cloudmask.record.result import plain
from cloudmask.system import files, reading

LARGEST_FILE = 64 * reading.MIB  # an attempt takes some 3 KB of it
GIT_SECONDS = 10  # a shared file system that hangs must not stop a run

# Distributions whose version matters; a package may come under several names.
PACKAGES = {
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-intel"),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "h5py": ("h5py",),
    "mlperf-logging": ("mlperf-logging",),
}

# What identifies a Slurm job. The rest of the environment may hold secrets and is never written.
SLURM = (
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "SLURM_JOB_PARTITION",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_RESTART_COUNT",
    "SLURM_STEP_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_NUM_NODES",
    "SLURM_STEP_NUM_NODES",
    "SLURM_NTASKS",
    "SLURM_CPUS_PER_TASK",
    "SLURM_GPUS_ON_NODE",
)


def collect(command: Sequence[str], data: Mapping | None = None) -> dict:
    """Facts about this process and its machine; None where the machine does not report it.

    `command` is the command line; `data` what is known about the data (path, checksum). Memory is
    in bytes, `started` in UTC (ISO 8601). The environment variable CLOUDMASK_GIT_COMMIT, which
    an image sets (with "-dirty" at its end if the tree was), wins over the source tree's git.
    """
    import psutil

    gpus = Gpus()
    gpus.close()
    return plain(
        {
            "command": list(command),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": _versions(),
            "git": git(),
            "container": _container(),
            "host": platform.node(),
            "user": user(),
            "os": _os(),
            "kernel": platform.release(),
            "cpu": {
                "model": _cpu_model(),
                "cores": psutil.cpu_count(logical=False),
                "threads": psutil.cpu_count(),
                "usable_threads": len(os.sched_getaffinity(0)),
            },
            "memory_bytes": psutil.virtual_memory().total,
            "gpus": [
                {"name": card.name, "uuid": card.uuid, "memory_bytes": card.memory_bytes}
                for card in gpus.cards
            ],
            "gpu_driver": gpus.driver,
            "slurm": {name: os.environ[name] for name in SLURM if name in os.environ},
            "data": data,
        }
    )


def system(provenance: Mapping) -> dict:
    """The machine as a flat mapping: "system" of result.json, and the summary's attribute table.

    `gpus` counts the cards this process sees on its node; a run over several nodes replaces it.
    """
    gpus, slurm = provenance["gpus"], provenance["slurm"]
    nodes = slurm.get("SLURM_STEP_NUM_NODES", slurm.get("SLURM_JOB_NUM_NODES", "1"))
    return {
        "host": provenance["host"],
        "user": provenance["user"],
        "os": provenance["os"],
        "kernel": provenance["kernel"],
        "cpu": provenance["cpu"]["model"],
        "cpu_cores": provenance["cpu"]["cores"],
        "cpu_threads": provenance["cpu"]["threads"],
        "cpu_usable_threads": provenance["cpu"]["usable_threads"],
        "memory_bytes": provenance["memory_bytes"],
        "gpu": gpus[0]["name"] if gpus else None,
        "gpus": len(gpus),
        "gpu_uuids": [card["uuid"] for card in gpus],
        "gpu_driver": provenance["gpu_driver"],
        "nodes": int(nodes) if nodes.isdigit() else 1,
        "container": (provenance["container"] or {}).get("name"),
        "commit": provenance["git"]["commit"],
        **provenance["versions"],
    }


def write(path: Path, provenance: Mapping) -> None:
    """Write the file `path` atomically; what earlier attempts wrote stays under "earlier".

    Raises InputError if the file of an earlier attempt is damaged.
    """
    earlier = []
    if path.exists():
        last = read(path)
        earlier = [*last.pop("earlier"), last]
    text = json.dumps({**plain(provenance), "earlier": earlier}, indent=2, allow_nan=False)
    files.write_text(path, text + "\n")


def read(path: Path) -> dict:
    """Read what `write` has written; raises InputError if it is missing or damaged."""
    try:
        found = reading.read_json(path, LARGEST_FILE)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected the provenance of a run") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error})") from None
    if not isinstance(found, dict) or not isinstance(found.get("earlier"), list):
        raise InputError(f"{path}: damaged; expected what an earlier attempt wrote")
    return found


def user() -> str:
    """Name of the user, or the number where a container knows no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _versions() -> dict[str, str | None]:
    return {
        "cloudmask": cloudmask.__version__,
        "python": platform.python_version(),
        **{package: _version(names) for package, names in PACKAGES.items()},
    }


def _version(names: Sequence[str]) -> str | None:
    """Version of the first of these distributions that is installed."""
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def git() -> dict:
    """Commit of the running source and whether its tree has changes; None where nobody knows."""
    commit = os.environ.get("CLOUDMASK_GIT_COMMIT")
    if commit:
        return {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
    source = Path(cloudmask.__file__)
    # An installed copy may lie in some other project's tree: only a tracked file has a commit.
    if _git_output(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return {"commit": None, "dirty": None}
    changes = _git_output(source.parent, "status", "--porcelain", "--untracked-files=no")
    return {
        "commit": _git_output(source.parent, "rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
    }


def _git_output(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _container() -> dict | None:
    for runtime in ("APPTAINER", "SINGULARITY"):
        image = os.environ.get(f"{runtime}_CONTAINER")
        if image:
            name = os.environ.get(f"{runtime}_NAME") or Path(image).name
            return {"runtime": runtime.lower(), "image": image, "name": name}
    return None


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())
