"""Where a result comes from: software, source, machine, job and data of a run."""

import contextlib
import datetime
import getpass
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudmask
from cloudmask.errors import InputError
from cloudmask.hardware import container_image, cuda
from cloudmask.hardware.gpu_libraries import open_gpus
from cloudmask.overlay import manifest
from cloudmask.record.recorded_provenance import LARGEST_FILE
from cloudmask.record.result import plain
from cloudmask.system import files, reading

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
# The same for LSF. LSB_JOBID is that of the array, LSB_JOBINDEX the row's.
LSF = (
    "LSB_JOBID",
    "LSB_JOBINDEX",
    "LSB_JOBNAME",
    "LSB_QUEUE",
    "LSB_HOSTS",
    "LSB_MCPU_HOSTS",
    "LSB_DJOB_NUMPROC",
)
# What a job reports about the node that it is on (slurm/lib/environment.sh).
SITE = {
    "site": "CLOUDMASK_SITE",
    "base": "CLOUDMASK_BASE",
    "features": "CLOUDMASK_NODE_FEATURES",
}
MAX_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")  # kHz


def collect(command: Sequence[str], data: Mapping | None = None) -> dict:
    """Facts about this process and its machine; None where the machine does not report it.

    `command` is the command line; `data` what is known about the data (path, checksum). Memory is
    in bytes, `started` in UTC (ISO 8601). The environment variable CLOUDMASK_GIT_COMMIT, which
    an image sets (with "-dirty" at its end if the tree was), wins over the source tree's git.
    """
    import psutil

    gpus = open_gpus()
    gpus.close()
    return plain(
        {
            "command": list(command),
            "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "versions": _versions(),
            **_packages(),
            "git": git(),
            "container": container_image.image(),
            "overlay": _overlay(),
            "host": platform.node(),
            "user": user(),
            "os": _os(),
            "kernel": platform.release(),
            "cpu": _cpu(),
            "memory_bytes": psutil.virtual_memory().total,
            "gpus": [
                {"name": card.name, "uuid": card.uuid, "memory_bytes": card.memory_bytes}
                for card in gpus.cards
            ],
            "gpu_driver": gpus.driver,
            "cuda": cuda.versions(),
            "slurm": _environment(SLURM),
            "lsf": _environment(LSF),
            "site": {key: os.environ[name] for key, name in SITE.items() if os.environ.get(name)},
            "data": data,
        }
    )


def identity(provenance: Mapping) -> dict[str, Any]:
    """What names the software and the job of a run, as far as it is known, also of older versions.

    `image_sha256`, `base_digest`, `cuda`, `cudnn`, `gpu_driver`, `packages_sha256`,
    `overlay_sha256` and `job`, Slurm's or LSF's number of it.
    """

    def section(key: str) -> Mapping:
        return provenance.get(key) or {}

    slurm, lsf = section("slurm"), section("lsf")
    facts = {
        "image_sha256": section("container").get("sha256"),
        "base_digest": section("container").get("base_digest"),
        "cuda": section("cuda").get("version"),
        "cudnn": section("cuda").get("cudnn"),
        "gpu_driver": provenance.get("gpu_driver"),
        "packages_sha256": provenance.get("packages_sha256"),
        "overlay_sha256": section("overlay").get("sha256"),
        "job": _job(slurm, "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
        or _job(lsf, "LSB_JOBID", "LSB_JOBID", "LSB_JOBINDEX"),
    }
    return {key: value for key, value in facts.items() if value}


def _job(found: Mapping[str, str], own: str, array: str, task: str) -> str | None:
    """A job's number; that of an array's as `ARRAY_TASK`, by which Slurm and people call it."""
    number = found.get(task, "0")  # LSF's index is 0 outside of an array.
    if array in found and number != "0":
        return f"{found[array]}_{number}"
    return found.get(own)


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
        **identity(provenance),
        **provenance["versions"],
    }


def write(path: Path, provenance: Mapping) -> None:
    """Write the file `path` atomically; what earlier attempts wrote stays under "earlier".

    Raises InputError if the file of an earlier attempt is damaged.
    """
    earlier = []
    if path.exists():
        last = _written(path)
        earlier = [*last.pop("earlier"), last]
    text = json.dumps({**plain(provenance), "earlier": earlier}, indent=2, allow_nan=False)
    files.write_text(path, text + "\n")


def _written(path: Path) -> dict:
    """All that is in the file of an earlier attempt; raises InputError if it is damaged."""
    try:
        found = reading.read_json(path, LARGEST_FILE)
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
    """The running source by `commit` and `dirty` (whether its tree has changes), and where it is:
    `repository`, `branch` and `tag`; None where nobody knows.
    """
    where = ("repository", "branch", "tag")
    commit = os.environ.get("CLOUDMASK_GIT_COMMIT")
    if commit:
        known = {"commit": commit.removesuffix("-dirty"), "dirty": commit.endswith("-dirty")}
        return known | dict.fromkeys(where)
    source = Path(cloudmask.__file__)
    # An installed copy may lie in some other project's tree: only a tracked file has a commit.
    if _git_output(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return dict.fromkeys(("commit", "dirty", *where))
    changes = _git_output(source.parent, "status", "--porcelain", "--untracked-files=no")
    remote = _git_output(source.parent, "remote", "get-url", "origin")
    return {
        "commit": _git_output(source.parent, "rev-parse", "HEAD"),
        "dirty": None if changes is None else bool(changes),
        # A remote may hold a password.
        "repository": remote and re.sub(r"//[^/@]*@", "//", remote),
        "branch": _git_output(source.parent, "symbolic-ref", "--short", "HEAD"),
        "tag": _git_output(source.parent, "describe", "--tags", "--exact-match"),
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


def _environment(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _packages() -> dict[str, Any]:
    """Every installed distribution by name, and a checksum of the list in the form of `pip freeze`.

    What is found first on the path is what Python imports.
    """
    found: dict[str, str] = {}
    for package in importlib.metadata.distributions():
        name = (package.metadata["Name"] or "").lower().replace("_", "-")
        if name:
            found.setdefault(name, package.version)
    listing = "".join(f"{name}=={found[name]}\n" for name in sorted(found))
    return {
        "packages": dict(sorted(found.items())),
        "packages_sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }


def _overlay() -> dict[str, str] | None:
    """The job's overlay by its manifest: of the image, and of what is in it."""
    path = os.environ.get("CLOUDMASK_OVERLAY")
    if not path:
        return None
    try:
        found = manifest.read(Path(path))
    except (InputError, OSError):
        return None
    return {"path": path, "sha256": found.image.sha256, "id": found.id}


def _cpu() -> dict[str, Any]:
    import psutil

    packages = set(_cpuinfo("physical id"))
    try:
        hertz: int | None = 1000 * int(MAX_FREQUENCY.read_text())
    except (OSError, ValueError):
        hertz = None
    return {
        "model": next(iter(_cpuinfo("model name")), platform.machine()),
        "sockets": len(packages) or None,
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": len(os.sched_getaffinity(0)),
        "max_hertz": hertz,
    }


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _cpuinfo(key: str) -> list[str]:
    """Values of a key in /proc/cpuinfo, one for each hardware thread."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
