"""Real Apptainer on this machine, and the CPU image that several tests share.

Apptainer runs as an ordinary user, as on a cluster; where the tests are root, a small program of
the same name hands over to that user. Images are kept in a folder named after their inputs.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
USER = "cloudmask-ci"
# Not below /tmp/pytest-of-root, which the ordinary user cannot enter.
KEPT = Path(os.environ.get("CLOUDMASK_TEST_IMAGES", "/var/tmp/cloudmask-test-images"))
# What a tree needs to build images and to use them, and of that what does not change an image.
INPUTS = ("Makefile", "LICENSE", "containers", "app", "slurm")
BESIDE = ("Makefile", "containers/info.py", "containers/README.md", "slurm/")

WRAPPER = """\
#!/bin/sh
export HOME={home}
exec runuser -u {user} -- {apptainer} "$@"
"""


@dataclass
class Apptainer:
    """How to run it: `bin` goes first on PATH; `home` is the home of the user that it runs as."""

    bin: Path
    home: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's environment, with the program first on PATH."""
        return os.environ | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"} | variables

    def run(self, *words, cwd=None, **variables) -> subprocess.CompletedProcess:
        """Run any command with the program on PATH; output is kept as text."""
        return subprocess.run(
            list(map(str, words)),
            cwd=cwd,
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=1500,
        )


def bring_apptainer() -> Apptainer:
    """Install Apptainer where the tests may; skip the test where they cannot."""
    if os.geteuid() != 0:
        if not shutil.which("apptainer"):
            pytest.skip("no apptainer, and only root on Debian 12 can bring one")
        return Apptainer(Path(shutil.which("apptainer")).parent, Path.home())
    if not Path("/etc/debian_version").exists():
        pytest.skip("apptainer is brought to Debian 12 only")
    brought = subprocess.run(
        ["bash", REPOSITORY / "tests/env/apptainer.sh"], capture_output=True, text=True
    )
    assert brought.returncode == 0, brought.stderr
    home = Path(f"~{USER}").expanduser()
    folder = KEPT / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    wrapper = folder / "apptainer"
    text = WRAPPER.format(home=home, user=USER, apptainer="/usr/bin/apptainer")
    if not wrapper.exists() or wrapper.read_text() != text:
        wrapper.write_text(text)
        wrapper.chmod(0o755)
    return Apptainer(folder, home)


def shared_folder(name: str) -> Path:
    """An empty folder that the ordinary user may write to."""
    path = KEPT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    path.chmod(0o1777)
    return path


def workspace() -> Path:
    """A copy of the tree's inputs of an image, as a git repository; kept while they stay equal.

    The checkout itself may lie where the ordinary user cannot read.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *INPUTS],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout.decode()
    names = [name for name in sorted(listed.split("\0")) if name and (REPOSITORY / name).exists()]
    digest = hashlib.sha256()
    for name in names:
        if not name.startswith(BESIDE):
            digest.update(name.encode() + b"\0" + _content(REPOSITORY / name))
    folder = KEPT / digest.hexdigest()[:16]
    if not folder.exists():
        _forget_old_workspaces()
    for name in names:
        copy = folder / name
        if copy.exists() and _content(copy) == _content(REPOSITORY / name):
            continue  # its date stays: make goes by it
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.unlink(missing_ok=True)
        shutil.copy2(REPOSITORY / name, copy, follow_symlinks=False)
    if (folder / ".git").exists():
        return folder
    for path in (folder, folder / "build", folder / "build/tmp", folder / "build/cache"):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    (folder / ".gitignore").write_text("*.sif\n.venv*\nbuild/\n")
    author = {}
    for who in ("GIT_AUTHOR", "GIT_COMMITTER"):
        author |= {f"{who}_NAME": "test", f"{who}_EMAIL": "test@localhost"}
        author |= {f"{who}_DATE": "2025-01-01T00:00:00Z"}
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "inputs"]):
        subprocess.run(["git", *words], cwd=folder, env=os.environ | author, check=True)
    return folder


def _content(path: Path) -> bytes:
    """A file's bytes, or where a link leads."""
    return str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()


def _forget_old_workspaces() -> None:
    """Keep the two newest, which other checkouts may be using; each takes 2 GB."""
    found = [path.parent for path in KEPT.glob("*/.git")]
    for old in sorted(found, key=lambda path: path.stat().st_mtime)[:-2]:
        shutil.rmtree(old, ignore_errors=True)


@dataclass
class Image:
    """An image, the tree it was built in, and what make printed; "" if it was there already."""

    path: Path
    tree: Path
    printed: str


def make_image(apptainer: Apptainer, tree: Path, *words: str) -> subprocess.CompletedProcess:
    """Run make in a workspace; the archive is packed fast instead of small."""
    fast = "BUILD_ARGS=--squashfs '-comp lz4'"
    return apptainer.run("make", "-C", tree, *words, fast)


def build_cpu_image(apptainer: Apptainer) -> Image:
    """The CPU image, built from Debian unless one of these inputs is there."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = workspace()
        path = tree / "cloudmask-cpu.sif"
        if path.exists():
            return Image(path, tree, "")
        made = make_image(apptainer, tree, "image", "BASE=cpu")
        assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
        return Image(path, tree, made.stdout + made.stderr)
