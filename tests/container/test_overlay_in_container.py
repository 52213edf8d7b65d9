"""An overlay in real Apptainer: many readers, a writer beside them, a container that was killed."""

import contextlib
import pwd
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import machine

from cloudmask.overlay import extract, manifest, processes
from cloudmask.overlay.e2fsprogs import tool
from cloudmask.system.files import sha256

REPOSITORY = Path(__file__).resolve().parents[2]
MAKE_OVERLAY = REPOSITORY / "overlays" / "make-overlay"
ISOLATED = ("--cleanenv", "--no-home")


@pytest.fixture(scope="module")
def folder(apptainer):
    """A folder that the ordinary user may read and write."""
    return machine.shared_folder("overlay")


@pytest.fixture(scope="module")
def patches(folder, store_path):
    shutil.copyfile(store_path, folder / "patches.h5")
    (folder / "patches.h5").chmod(0o644)
    return folder / "patches.h5"


@pytest.fixture(scope="module")
def overlay(apptainer, patches):
    done = apptainer.run(sys.executable, MAKE_OVERLAY, patches)
    assert done.returncode == 0, done.stderr
    return patches.with_suffix(".ext3")


@pytest.fixture
def writable(overlay, apptainer):
    """A copy that its owner, the ordinary user, may write to."""
    path = overlay.with_name("writable.ext3")
    shutil.copyfile(overlay, path)
    shutil.copyfile(manifest.beside(overlay), manifest.beside(path))
    path.chmod(0o644)
    if apptainer.home != Path.home():  # the tests are root, the writer is not
        shutil.chown(path, machine.USER)
        for inside in ("/upper", "/work"):
            for key in ("uid", "gid"):
                number = getattr(pwd.getpwnam(machine.USER), f"pw_{key}")
                command = [tool("debugfs"), "-w", "-R", f"sif {inside} {key} {number}", path]
                subprocess.run(command, capture_output=True, check=True)
    yield path
    path.unlink()


def words(overlay, image, *command):
    return ["apptainer", "-q", "exec", *ISOLATED, "--overlay", overlay, image.path, *command]


@contextlib.contextmanager
def container(apptainer, overlay, image):
    """A container that has the overlay open; yields the process and everything below it."""
    process = subprocess.Popen(
        [*map(str, words(overlay, image, "sh", "-c", "echo up; exec sleep 300"))],
        env=apptainer.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    family = []
    try:
        assert process.stdout.readline() == "up\n"
        family = psutil.Process(process.pid).children(recursive=True)
        yield family
    finally:
        for member in [*family, psutil.Process(process.pid)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()
        psutil.wait_procs(family, timeout=10)


def who(image):
    done = subprocess.run(
        [sys.executable, MAKE_OVERLAY, "--who", image], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_batch_is_read_through_the_container(apptainer, overlay, cpu_image):
    done = apptainer.run(
        sys.executable, MAKE_OVERLAY, "--check", overlay, "--container", cpu_image.path
    )
    assert done.returncode == 0, done.stderr
    assert "MB of /data/patches.h5 and a batch of 4 patches read rightly" in done.stdout
    assert "e2fsck finds no fault" in done.stdout


def test_four_containers_read_the_bytes_of_the_host_at_once(apptainer, overlay, patches, cpu_image):
    command = "sha256sum /data/patches.h5 && cat /data/overlay.json >/dev/null && sleep 2"
    readers = [
        subprocess.Popen(
            [*map(str, words(f"{overlay}:ro", cpu_image, "sh", "-c", command))],
            env=apptainer.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    outputs = [reader.communicate(timeout=120)[0] for reader in readers]
    assert [reader.returncode for reader in readers] == [0] * 4
    assert {output.split()[0] for output in outputs} == {sha256(patches)}


def test_the_staged_file_takes_the_place_of_the_overlay(
    apptainer, overlay, patches, cpu_image, folder
):
    out = folder / "staged.h5"
    extract.extract(overlay, manifest.read(overlay).content(manifest.PATCHES), out, 2)
    bind = f"{out}:{manifest.PATCHES}:ro"
    done = apptainer.run(
        "apptainer",
        "-q",
        "exec",
        *ISOLATED,
        "--bind",
        bind,
        cpu_image.path,
        "sh",
        "-c",
        "sha256sum /data/patches.h5; echo x >> /data/patches.h5",
    )
    assert done.stdout.split()[0] == sha256(patches)
    assert done.returncode != 0  # read-only
    assert sha256(out) == sha256(patches)


def test_a_writer_beside_a_reader_is_told_who_and_what_to_do(apptainer, writable, cpu_image):
    with container(apptainer, f"{writable}:ro", cpu_image):
        done = apptainer.run(*words(writable, cpu_image, "true"))
        assert done.returncode == 255
        assert processes.IN_USE[0] in done.stderr
        told = processes.explain(writable, done.stderr)
        assert f"{writable}: in use: process " in told
        assert "has it open for reading; wait until it ends" in told
        assert f"--overlay {writable}:ro" in told
        assert "a writer needs it alone" in who(writable)
        # Readers are many: another one beside it is no trouble.
        assert apptainer.run(*words(f"{writable}:ro", cpu_image, "true")).returncode == 0


def test_a_reader_and_a_writer_beside_a_writer(apptainer, writable, cpu_image):
    with container(apptainer, writable, cpu_image):
        for mode, sign in ((":ro", processes.IN_USE[1]), ("", processes.IN_USE[0])):
            done = apptainer.run(*words(f"{writable}{mode}", cpu_image, "true"))
            assert done.returncode == 255
            assert sign in done.stderr
        assert "has it open for writing; wait until it ends" in who(writable)
        check = [sys.executable, MAKE_OVERLAY, "--check", writable]
        done = apptainer.run(*check, "--container", cpu_image.path)
        assert done.returncode == 2
        assert f"error: {writable}: in use: process " in done.stderr


def test_what_a_killed_container_leaves_is_named(apptainer, writable, cpu_image):
    with container(apptainer, f"{writable}:ro", cpu_image) as family:
        [holder] = [h for h in processes.find(writable) if "fuse2fs" in h.command]
        assert not holder.leftover
        psutil.Process(holder.pid).parent().kill()  # the runtime, by kill -9
        deadline = time.monotonic() + 120
        while "left over" not in who(writable):
            assert time.monotonic() < deadline, who(writable)
            time.sleep(0.1)
        done = apptainer.run(*words(writable, cpu_image, "true"))
        assert done.returncode == 255  # the lock outlived the container
        told = processes.explain(writable, done.stderr)
        assert f"end it with 'kill {holder.pid}'" in told
        # What the message says helps.
        [process] = [member for member in family if member.pid == holder.pid]
        process.terminate()
        process.wait(timeout=120)
        assert "nobody on" in who(writable)
        assert apptainer.run(*words(f"{writable}:ro", cpu_image, "true")).returncode == 0
