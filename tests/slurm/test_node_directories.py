"""Which directory of its node's own disk a task takes, and what it makes of other users' files."""

import os
import pwd
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support import machine

from cloudmask.overlay import manifest

USUAL = f"cloudmask-{machine.USER}"
PLACE = Path("/tmp")
OTHER_USER = 65534


@pytest.fixture
def fresh_checkout(cluster):
    """The tree with image and overlay under the names that a site named nowhere expects."""
    links = {
        "cloudmask.sif": "cloudmask-cpu.sif",
        "patches.ext3": "patches.ext3",
        "patches.ext3.json": "patches.ext3.json",
    }
    for name, source in links.items():
        (cluster.tree / name).symlink_to(cluster.root / source)
    yield cluster
    for name in links:
        (cluster.tree / name).unlink()


def test_the_readme_line_where_tmp_is_the_nodes_directory(fresh_checkout):
    """Slurm gives a job TMPDIR=/tmp unless its site sets another one."""
    cluster, before = fresh_checkout, in_place()
    name = cluster.experiment("documented", repeats=3, training__epochs=1)
    jobs = [
        sbatch(cluster, readme_line(), "--array=1-2", name),
        sbatch(cluster, readme_line(), "--array=3", name, CLOUDMASK_LOCAL=PLACE),
    ]
    cluster.wait(*jobs)
    logs = [cluster.log(f"{jobs[0]}_{row}") for row in (1, 2)] + [cluster.log(f"{jobs[1]}_3")]
    for log in logs:
        assert re.search(
            rf"(?m)^{PLACE}/{USUAL}[^/]*/[0-9a-f]{{64}}/data: (copied|found|waited)", log
        )
        assert "WARNING" not in log
    assert "no site is named (CLOUDMASK_SITE): taking 'generic'" in logs[0]
    assert [result["status"] for result in cluster.result("documented")] == ["success"] * 3
    assert in_place() <= before


def readme_line() -> list[str]:
    """The words of the line that trains the paper's five repeats."""
    text = (machine.REPOSITORY / "README.md").read_text(encoding="utf-8")
    return shlex.split(re.search(r"(?m)^sbatch .*slurm/train\.sbatch.*$", text)[0], comments=True)


def sbatch(cluster, line, array, experiment, **variables) -> str:
    """Submit such a line with other rows, on CPUs; returns the job's number."""
    words = [*line[:-1], "--parsable", array, line[-1], experiment]
    done = cluster.run(*words, CLOUDMASK_DEVICE="cpu", **variables)
    assert done.returncode == 0, done.stderr
    cluster.submitted.append(done.stdout.strip())
    return cluster.submitted[-1]


def in_place() -> set[Path]:
    """What the user has in /tmp under names of ours."""
    user = pwd.getpwnam(machine.USER).pw_uid
    return {path for path in PLACE.glob("cloudmask*") if path.lstat().st_uid == user}


def test_another_users_folder_under_the_usual_name(cluster):
    """On one node it holds forged patches; on the other it is a link to files of the user's own."""
    name = cluster.experiment("squatted", repeats=2, training__epochs=1)
    own_files = write_own_files(cluster)
    with cluster.little_space("n4", "512m"), cluster.little_space("n5", "512m"):
        forged, link = (cluster.root / "local" / node / USUAL for node in ("n4", "n5"))
        write_forged_copy(cluster, forged)
        link.symlink_to(own_files)
        os.lchown(link, OTHER_USER, OTHER_USER)
        before = states(forged, link, own_files)
        jobs = [cluster.submit(name, "--nodelist=n4", index="1")]
        jobs += [cluster.submit(name, "--nodelist=n5", index="2")]
        cluster.wait(*jobs)
        assert states(forged, link, own_files) == before
        assert [*forged.parent.iterdir(), *link.parent.iterdir()] == [forged, link]
    shutil.rmtree(own_files)
    logs = [cluster.log(f"{job}_{row}") for row, job in enumerate(jobs, 1)]
    for path, reason, log in zip((forged, link), ("belongs to", "is a link"), logs, strict=True):
        assert re.search(rf"{path} {reason}.*\b{USUAL}-[0-9a-f]{{16}}\b", log), log
        assert re.search(rf"(?m)^{path}-[0-9a-f]{{16}}/[0-9a-f]{{64}}/data: copied in", log), log
    assert [result["status"] for result in cluster.result("squatted")] == ["success"] * 2


def write_own_files(cluster) -> Path:
    """A folder of the user's whose names are those of a node's copy, which tasks tidy away."""
    folder = cluster.root / "thesis"
    for part in ("leases/chapter", "a" * 64):
        cluster.run("mkdir", "-p", folder / part)
        cluster.run("cp", "/etc/hostname", folder / part / "text")
    cluster.run("chmod", "700", folder)
    return folder


def write_forged_copy(cluster, folder: Path) -> None:
    """Another user's folder, open to all, with a copy of the overlay that is not its content."""
    listed = manifest.read(cluster.root / "patches.ext3")
    for file in listed.files:
        path = folder / listed.id / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(file.size))
    for empty in (folder / ".lock", folder / listed.id / ".copying"):
        empty.touch()
    (folder / "leases").mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
        os.chown(path, OTHER_USER, OTHER_USER)


def states(*paths: Path) -> dict[Path, tuple[int, ...]]:
    """What shows any change of these and of all below."""
    found = [each for path in paths for each in (path, *path.rglob("*"))]
    kept = {path: path.lstat() for path in found}
    return {path: (s.st_ino, s.st_mode, s.st_uid, s.st_mtime_ns) for path, s in kept.items()}
