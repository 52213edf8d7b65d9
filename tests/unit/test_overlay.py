"""Building and checking overlays: what is inside, what is refused, what is not done twice."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cloudmask.errors import InputError
from cloudmask.overlay import build, layout, manifest, processes
from cloudmask.overlay.check import PROBE, check
from cloudmask.overlay.e2fsprogs import tool
from cloudmask.overlay.ext3 import Ext3

MAKE_OVERLAY = Path(__file__).resolve().parents[2] / "overlays" / "make-overlay"
HDF5 = b"\x89HDF\r\n\x1a\n"


@pytest.fixture(autouse=True)
def e2fsprogs():
    try:
        tool("debugfs")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def patches(tmp_path):
    """A file with a blank in its name that begins as HDF5 does."""
    path = tmp_path / "my patches.h5"
    path.write_bytes(HDF5 + os.urandom(5_000_000))
    return path


@pytest.fixture
def image(patches, tmp_path):
    path = tmp_path / "my patches.ext3"
    build.build(build.plan({manifest.PATCHES: patches}, path), 2)
    return path


def make(*words):
    # Without any installed package, as on a node.
    command = [sys.executable, "-I", "-S", MAKE_OVERLAY, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_make_overlay_from_a_checkout(patches, tmp_path):
    done = make(patches)
    assert done.returncode == 0, done.stderr
    image = tmp_path / "my patches.ext3"
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted([patches.name, image.name, f"{image.name}.json", f"{image.name}.sha256"])
    assert image.stat().st_mode & 0o777 == 0o444
    with Ext3(image) as source:
        assert source.content("/upper/data/patches.h5") == patches.read_bytes()
        inside = json.loads(source.content("/upper" + manifest.SENTINEL))
    assert inside["id"] == manifest.read(image).id
    summed = subprocess.run(["sha256sum", "-c", f"{image.name}.sha256"], cwd=tmp_path)
    assert summed.returncode == 0
    made = image.stat()
    assert "nothing to do" in make(patches).stdout
    assert image.stat().st_ino == made.st_ino
    assert make("--check", image).returncode == 0
    assert "container: not tried" in make("--check", image).stdout


def test_owner_of_upper_and_work(patches, tmp_path):
    """Also in a folder that gives its group to what is made in it, as shared ones do."""
    folder = tmp_path / "project"
    folder.mkdir()
    if os.getuid() == 0:
        os.chown(folder, 0, 12345)
    folder.chmod(0o2770)
    image = folder / "o.ext3"
    assert make(patches, "--out", image).returncode == 0
    for inside in ("/upper", "/work"):
        command = [tool("debugfs"), "-R", f"stat {inside}", image]
        said = subprocess.run(command, capture_output=True, text=True).stdout
        owner, group = (int(said.split(f"{key}:")[1].split()[0]) for key in ("User", "Group"))
        assert (owner, group) == (os.getuid(), os.getgid())
        assert "Mode:  0755" in said


def test_dry_run_writes_nothing(patches, tmp_path):
    done = make(patches, "--dry-run")
    assert done.returncode == 0
    assert "would run: " in done.stdout and "-d FOLDERS" in done.stdout
    assert f"would write: {patches} as /data/patches.h5" in done.stdout
    assert list(tmp_path.iterdir()) == [patches]


def test_built_anew_only_when_the_content_changed(image, patches):
    plan = build.plan({manifest.PATCHES: patches}, image)
    assert build.up_to_date(plan)
    os.utime(patches, (1, 1))
    assert build.up_to_date(plan)
    data = bytearray(patches.read_bytes())
    data[-1] ^= 1
    patches.write_bytes(data)
    assert not build.up_to_date(plan)
    build.build(plan, 2)
    assert build.up_to_date(plan)
    image.chmod(0o644)
    os.truncate(image, image.stat().st_size - 1)
    assert not build.up_to_date(plan)


def test_scenes_come_along(patches, scenes, tmp_path):
    image = tmp_path / "o.ext3"
    done = make(patches, "--out", image, "--scenes", scenes)
    assert done.returncode == 0, done.stderr
    inference = sorted((scenes / "inference").iterdir())
    with Ext3(image) as source:
        for scene in inference:
            assert source.content(f"/upper/data/inference/{scene.name}") == scene.read_bytes()
    assert len(manifest.read(image).files) == 1 + len(inference)


@pytest.mark.parametrize("size", [0, 1, 10**6, 3 * 10**7])
def test_the_computed_size_is_enough_and_not_much_more(tmp_path, size):
    """Many and few files; the share of the image that stays free is small."""
    sources = {}
    for number in range(3):
        path = tmp_path / f"{number}"
        path.write_bytes(os.urandom(size))
        sources[f"/data/deep/er/{number}"] = path
    plan = build.plan(sources, tmp_path / "o.ext3")
    build.build(plan, 2)
    assert plan.size < 3 * size * 1.01 + 8 * 2**20


@pytest.mark.parametrize("blocks", [12, 13, 12 + 1024, 13 + 1024, 12 + 1024 + 1024**2 + 1])
def test_blocks_of_a_file(blocks):
    """Against the definition: one indirect block per 1024 pointers on each level."""
    left, total = blocks - 12, blocks
    for level in (1, 2, 3):
        here = min(max(left, 0), 1024**level)
        total += sum(-(-here // 1024**k) for k in range(1, level + 1)) if here else 0
        left -= here
    assert layout.file_blocks(blocks * 4096) == total
    assert {12: 12, 13: 14, 1036: 1037, 1037: 1040}.get(blocks, total) == total


def test_the_whole_data_set_fits_in_what_is_planned():
    """A real file system of 24 GB, sparse: what mkfs leaves free holds the file."""
    size = 19_400 * 256 * 256 * 19
    planned = layout.image_bytes([size], 64)
    assert size < planned < size * 1.008


def test_too_little_space_is_told_before_anything_is_written(patches, tmp_path, monkeypatch):
    plan = build.plan({manifest.PATCHES: patches}, tmp_path / "o.ext3")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(InputError, match=r"needs 0.01 GB, 0.00 GB are free there"):
        build.build(plan, 2)
    assert list(tmp_path.iterdir()) == [patches]


def test_two_builders(patches, tmp_path):
    image = tmp_path / "o.ext3"
    with build._lock(image):
        done = make(patches, "--out", image)
    assert done.returncode == 2
    assert f"process {os.getpid()} of " in done.stderr
    assert "is building it; wait for it" in done.stderr
    assert make(patches, "--out", image).returncode == 0


def test_what_a_killed_builder_left_goes(patches, tmp_path):
    left = tmp_path / ".o.ext3.host.123.building"
    left.mkdir()
    (left / "image").write_bytes(b"half")
    assert make(patches, "--out", tmp_path / "o.ext3").returncode == 0
    assert not left.exists()


def test_inputs_that_cannot_be_used(patches, tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    for words, said in (
        ([tmp_path / "none.h5"], "No such file or directory; expected a patch store"),
        ([tmp_path / "text.h5"], "not HDF5"),
        ([patches, "--out", tmp_path / "no" / "o.ext3"], "in an existing folder"),
        (["--check", tmp_path / "none.ext3"], "the manifest belongs beside the image"),
        (["--who", tmp_path / "none.ext3"], "expected an overlay image"),
    ):
        done = make(*words)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", ['S3A_" \\n.hdf', "S3A_\n.hdf"])
def test_names_that_debugfs_would_take_for_commands(scenes, tmp_path, name):
    source = tmp_path / "scene"
    source.write_bytes(b"1")
    with pytest.raises(InputError, match=r"quotation marks|control characters"):
        build.plan({f"{manifest.SCENES}/{name}": source}, tmp_path / "o.ext3")


def test_a_source_that_changes_while_it_is_read(patches, tmp_path, monkeypatch):
    measure = manifest.measure

    def growing(source, path, workers):
        with source.open("ab") as file:
            file.write(b"more")
        return measure(source, path, workers)

    monkeypatch.setattr(manifest, "measure", growing)
    with pytest.raises(InputError, match="changed while it was read"):
        build.build(build.plan({manifest.PATCHES: patches}, tmp_path / "o.ext3"), 2)
    assert list(tmp_path.iterdir()) == [patches]


def test_check_finds_what_is_wrong(image):
    assert len(list(check(image))) >= 3
    image.chmod(0o644)
    data = image.read_bytes()
    with Ext3(image) as source:
        place = next(source.extents(source.file("/upper/data/patches.h5"))).position
    with image.open("r+b") as file:
        file.seek(place)
        file.write(b"other")
    with pytest.raises(InputError, match="damaged: its sha256"):
        list(check(image))
    image.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated"):
        list(check(image))


def test_who_holds_it(image):
    assert "nobody on" in processes.describe(image)[0]
    with subprocess.Popen(["sleep", "60"], stdin=image.open("rb")) as sleeper:
        try:
            [line, advice] = processes.describe(image)
        finally:
            sleeper.kill()
    assert line.startswith(f"process {sleeper.pid} of ")
    assert "(sleep 60) has it open for reading; wait until it ends" in line
    assert f"--overlay {image}:ro" in advice


def test_what_the_runtime_says_in_plain_words(image):
    said = "\x1b[31mFATAL:   container creation failed: no such thing\x1b[0m\n\x1b[0m\n"
    assert processes.explain(image, said).endswith(
        "failed: FATAL:   container creation failed: no such thing"
    )
    said = "FATAL: … setup of overlay upper dir failed: /var/…/upper is not writable"
    assert f"open it read-only, --overlay {image}:ro" in processes.explain(image, said)
    assert processes.explain(image, "").endswith("no message")


def test_what_the_check_runs_in_the_container_reads_a_batch(store_path, tmp_path):
    sentinel = tmp_path / "sentinel"
    sentinel.write_text('{\n "id": "x"\n}\n')
    script = PROBE.format(sentinel=sentinel, size=8, path=store_path, batch=4)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    inside, checksum, batch = done.stdout.splitlines()
    assert json.loads(inside)["id"] == "x"
    assert checksum.split()[0] == hashlib.sha256(store_path.read_bytes()[:8]).hexdigest()
    assert batch == "4 256 256 9"


def test_only_an_overlay_is_replaced(patches, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("theirs")
    with pytest.raises(InputError, match="not replaced, since it is not an overlay"):
        build.build(build.plan({manifest.PATCHES: patches}, path), 2)
    assert path.read_text() == "theirs"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [patches.name, "notes.txt"]


def test_what_appears_while_it_is_built_stays(patches, tmp_path, monkeypatch):
    path = tmp_path / "patches.ext3"
    origin = build._origin

    def appear():
        path.write_text("theirs")
        return origin()

    monkeypatch.setattr(build, "_origin", appear)
    with pytest.raises(InputError, match="exists already"):
        build.build(build.plan({manifest.PATCHES: patches}, path), 2)
    assert path.read_text() == "theirs"
