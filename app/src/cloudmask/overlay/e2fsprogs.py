"""The programs of e2fsprogs that make and check ext3 images, without root and without mounting."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cloudmask.errors import Fault, InputError
from cloudmask.overlay.layout import BLOCK, INODE, JOURNAL, UPPER
from cloudmask.system import process

RESERVE = "0.1"  # percent of the blocks; where it is 0, fuse2fs keeps a tenth from writers
# Named one by one: a site's mke2fs.conf may add others, and the runtimes refuse unknown ones.
FEATURES = "none,has_journal,ext_attr,dir_index,filetype,sparse_super,large_file"


def tool(name: str) -> str:
    """Path of a program of e2fsprogs, which ordinary users often do not have on their PATH."""
    search_path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=search_path)
    if not found:
        raise InputError(f"{name}: not found; install e2fsprogs (1.43 or newer)")
    return found


def make_command(folders: Path | str, image: Path | str, size: int, inodes: int) -> list[str]:
    """The command that makes an empty image of `size` bytes with a copy of the host's `folders`."""
    command = [tool("mkfs.ext3"), "-q", "-F", "-b", str(BLOCK), "-m", RESERVE]
    command += ["-I", str(INODE), "-N", str(inodes), "-O", FEATURES]
    command += ["-J", f"size={JOURNAL * BLOCK >> 20}"]
    command += ["-E", f"root_owner={os.getuid()}:{os.getgid()}", "-L", "cloudmask"]
    return [*command, "-d", str(folders), str(image), str(size // BLOCK)]


def write_files(image: Path, scratch: Path, sources: Mapping[str, Path]) -> str:
    """Write files into the image, readable by all, owned as its folders; returns debugfs' messages.

    debugfs reads its commands from a file in the folder `scratch`. It knows no exit codes: whether
    it wrote everything is seen by reading the files back.
    """
    lines = []
    for number, (path, source) in enumerate(sources.items()):
        # debugfs gets a name without spaces, whatever the source is called.
        link = scratch / f"source-{number}"
        link.unlink(missing_ok=True)
        link.symlink_to(source.resolve())
        inside, name = UPPER + str(Path(path).parent), Path(path).name
        lines += [f'cd "{inside}"', f'write {link.name} "{name}"', f'sif "{name}" mode 0100444']
        lines += [f'sif "{name}" uid {os.getuid()}', f'sif "{name}" gid {os.getgid()}']
    commands = scratch / "commands"
    commands.write_text("\n".join(lines) + "\n")
    return run([tool("debugfs"), "-w", "-f", commands.name, str(image.resolve())], scratch)


def check_filesystem(image: Path) -> None:
    """Raise Fault if e2fsck finds damage; changes nothing."""
    run([tool("e2fsck"), "-f", "-n", str(image)])


def run(command: list[str], folder: Path | None = None) -> str:
    """Run a program of e2fsprogs; returns what it wrote to stderr. Raises Fault if it fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    done = process.run(command, signal.SIGKILL, cwd=folder, text=True, **pipes)
    if done.returncode:
        output = " ".join((done.stderr + done.stdout).split())[-300:]
        raise Fault(f"{Path(command[0]).name} failed with code {done.returncode}: {output}")
    return " ".join(done.stderr.split())
