"""Processes that have an overlay open on this node, and what a user can do about them."""

import contextlib
import os
import pwd
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from cloudmask.errors import InputError

PROC = Path("/proc")
IN_USE = ("currently in use by another process", "currently in use for writing")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class ImageProcess:
    """A process that has the image open: pid, user, command line.

    leftover: a FUSE process whose container is gone, killed before it could unmount.
    """

    pid: int
    user: str
    command: str
    writing: bool
    leftover: bool

    def __str__(self) -> str:
        what = f"process {self.pid} of {self.user} ({self.command})"
        doing = "writing" if self.writing else "reading"
        if self.leftover:
            return (
                f"{what} is left over from a container that was killed and still holds it for "
                f"{doing}; end it with 'kill {self.pid}'"
            )
        return f"{what} has it open for {doing}; wait until it ends"


def find(image: Path) -> list[ImageProcess]:
    """The processes of this node that have `image` open, as far as this user may see them."""
    wanted = _status(image)
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        # A process may end while it is looked at, or belong to another user.
        with contextlib.suppress(OSError, ValueError):
            modes = [_writing(fd) for fd in (folder / "fd").iterdir() if _is(fd, wanted)]
            if modes:
                found.append(_describe(folder, any(modes)))
    return sorted(found, key=lambda process: process.pid)


def locked(image: Path) -> bool:
    """Whether any process of this node, of whichever user, holds a lock on the image."""
    status = _status(image)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    lines = (PROC / "locks").read_text().splitlines()
    return any(device in line.split() for line in lines)


def describe(image: Path) -> list[str]:
    """Lines that say which processes have the image open and what to do."""
    found = find(image)
    lines = [str(process) for process in found]
    host = socket.gethostname()
    if not found and locked(image):
        lines.append(f"a process of another user on {host} holds it; root sees which")
    elif not found:
        lines.append(
            f"nobody on {host} has it open, as far as you may see; on a shared file system a "
            "process of another node may: run the same command there"
        )
    if found and not all(process.leftover for process in found):
        lines.append(
            f"any number of containers may read it at once with --overlay {image}:ro; "
            "a writer needs it alone"
        )
    return lines


def explain(image: Path, message: str) -> str:
    """One line for what a container runtime wrote to stderr when it could not use the image."""
    if any(words in message for words in IN_USE):
        return f"{image}: in use: " + "; ".join(describe(image))
    if "upper dir failed" in message or "is not writable" in message:
        return f"{image}: not writable for you; open it read-only, --overlay {image}:ro"
    lines = [COLOR.sub("", line).strip() for line in message.splitlines()]
    errors = [line for line in lines if line.startswith(("FATAL", "ERROR"))]
    shown = errors or [line for line in lines if line] or ["no message"]
    return f"{image}: the container runtime failed: {shown[-1]}"


def _status(image: Path) -> os.stat_result:
    try:
        return image.stat()
    except OSError as error:
        raise InputError(f"{image}: {error.strerror}; expected an overlay image") from None


def _is(fd: Path, wanted: os.stat_result) -> bool:
    with contextlib.suppress(OSError):
        if str(fd.readlink()).startswith("/"):
            status = fd.stat()
            return (status.st_dev, status.st_ino) == (wanted.st_dev, wanted.st_ino)
    return False


def _writing(fd: Path) -> bool:
    info = (fd.parent.parent / "fdinfo" / fd.name).read_text()
    flags = next(line.split()[1] for line in info.splitlines() if line.startswith("flags:"))
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def _describe(folder: Path, writing: bool) -> ImageProcess:
    command = _command(folder)
    uid = folder.stat().st_uid
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"user {uid}"
    # In "pid (name) state ppid …" the name may hold spaces and parentheses.
    parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
    above = _command(PROC / parent).lower()
    in_container = any(name in above for name in ("apptainer", "singularity", "starter"))
    leftover = "fuse2fs" in command and not in_container
    return ImageProcess(int(folder.name), user, command, writing, leftover)


def _command(folder: Path) -> str:
    words = (folder / "cmdline").read_bytes().split(b"\0")
    text = " ".join(os.fsdecode(word) for word in words if word)
    return text if len(text) <= 60 else text[:59] + "…"
