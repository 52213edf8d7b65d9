"""Disks: how much room there is, and whether other nodes see them too."""

import os
import shutil
from pathlib import Path

from cloudmask.errors import InputError

# File systems that several nodes see, as /proc/self/mountinfo names them.
NETWORK = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "9p",
        "afs",
        "lustre",
        "gpfs",
        "panfs",
        "ceph",
        "wekafs",
        "beegfs",
        "beegfs_nodev",
        "fhgfs",
        "orangefs",
        "pvfs2",
        "quobyte",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.quobyte",
        "fuse.sshfs",
    }
)
MEMORY = frozenset({"tmpfs", "ramfs"})


class NoRoom(InputError):
    """The disk has too little space."""


def free_space(folder: Path | str) -> int:
    """Bytes that the user may still write on the disk of an existing folder."""
    return shutil.disk_usage(folder).free


def require_space(folder: Path | str, needed: int, what: Path | str) -> None:
    """Raise NoRoom unless `needed` bytes are free in the folder; `what` is to be written there."""
    free = free_space(folder)
    if needed > free:
        raise NoRoom(f"{what}: needs {needed / 1e9:.2f} GB, {free / 1e9:.2f} GB are free there")


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, "" where it is unknown."""
    device = folder.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        if before.split()[2] == wanted:
            return after.split()[0]
    return ""
