"""Reading ext3 images without mounting them, and staging a file out of one, against debugfs."""

import errno
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from cloudmask.commands import stage
from cloudmask.errors import EXIT_INTERRUPTED, Fault, InputError
from cloudmask.overlay import extract, manifest
from cloudmask.overlay.build import build, plan
from cloudmask.overlay.e2fsprogs import tool
from cloudmask.overlay.ext3 import Ext3
from cloudmask.overlay.layout import UPPER
from cloudmask.overlay.manifest import PATCHES
from cloudmask.system import output

MIB = 1 << 20
INSIDE = UPPER + PATCHES


@pytest.fixture(scope="module", autouse=True)
def e2fsprogs():
    """Without it neither images nor the oracle can be had."""
    for name in ("mkfs.ext3", "debugfs", "e2fsck"):
        try:
            tool(name)
        except InputError as error:
            pytest.skip(str(error))


@pytest.fixture(scope="module")
def small_chunks():
    """Chunks of 1 MiB, so that files of some MiB have many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "CHUNK", MIB)
        yield


@pytest.fixture(scope="module")
def content():
    """Bytes with an odd length, beyond the first double indirect block (4 MiB + 48 KiB)."""
    return os.urandom(9 * MIB + 12345)


@pytest.fixture(scope="module")
def image(small_chunks, content, tmp_path_factory):
    """An overlay with one file; its manifest lies beside it."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "file").write_bytes(content)
    build(plan({PATCHES: folder / "file"}, folder / "o.ext3"), 2)
    return folder / "o.ext3"


def debugfs(image, *requests):
    """Run debugfs, our oracle, and what makes images ours would not."""
    commands = image.with_name("requests")
    commands.write_text("\n".join(requests) + "\n")
    command = [tool("debugfs"), "-w", "-f", commands, image]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def expected(path, content, tmp_path, chunk=MIB):
    """Checksums of `content`, computed apart from the image."""
    source = tmp_path / "expected"
    source.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "CHUNK", chunk)
        return manifest.measure(source, path, 2)


def copy(image, tmp_path):
    """A writable copy, with its manifest."""
    other = tmp_path / "copy.ext3"
    shutil.copyfile(image, other)
    shutil.copyfile(manifest.beside(image), manifest.beside(other))
    return other


@pytest.mark.parametrize("workers", [1, 4])
def test_the_extracted_file_equals_the_source(image, content, tmp_path, workers):
    out = tmp_path / "out"
    done = extract.extract(image, manifest.read(image).content(PATCHES), out, workers)
    assert out.read_bytes() == content
    assert (done.bytes, out.stat().st_mode & 0o777) == (len(content), 0o444)
    assert done.seconds > 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_reader_lists_the_blocks_that_debugfs_lists(image, content):
    blocks = [int(n) for n in debugfs(image, f"blocks {INSIDE}").split()[-2405:] if n.isdigit()]
    with Ext3(image) as source:
        extents = list(source.extents(source.file(INSIDE)))
        assert sum(extent.length for extent in extents) == len(content)
        ours = [
            extent.position // source.block + index
            for extent in extents
            for index in range(-(-extent.length // source.block))
        ]
    # debugfs lists the indirect blocks among them.
    assert len(ours) == -(-len(content) // 4096)
    assert [block for block in blocks if block in set(ours)] == ours


def test_a_fragmented_file(image, tmp_path):
    """Every second block is marked as used before the file is written, direct and indirect."""
    other = copy(image, tmp_path)
    fragments = os.urandom(280 * 1024 + 5)
    (tmp_path / "large").write_bytes(fragments)
    debugfs(
        other,
        f"rm {INSIDE}",
        *(f"setb {block}" for block in range(1030, 1200, 2)),
        "cd /upper/data",
        f"write {tmp_path}/large patches.h5",
    )
    with Ext3(other) as source:
        assert len(list(source.extents(source.file(INSIDE)))) > 20
    out = tmp_path / "out"
    extract.extract(other, expected(PATCHES, fragments, tmp_path), out, 3)
    assert out.read_bytes() == fragments


@pytest.mark.parametrize("end", [b"", b"x" * 5000])
def test_holes_stay_holes(image, tmp_path, end):
    """Holes of blocks, of an indirect block and of a double indirect one."""
    other = copy(image, tmp_path)
    data = bytearray(7 * MIB)
    for place in (0, 5 * 4096, 100 * 4096, 3 * MIB, 5 * MIB + 4096):
        data[place : place + 4096] = os.urandom(4096)
    data = bytes(data) + end
    (tmp_path / "sparse").write_bytes(data)
    debugfs(other, f"rm {INSIDE}", "cd /upper/data", f"write {tmp_path}/sparse patches.h5")
    with Ext3(other) as source:
        assert None in {extent.position for extent in source.extents(source.file(INSIDE))}
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract, "PIECE", 64 * 1024)
        extract.extract(other, expected(PATCHES, data, tmp_path), out, 2)
    assert out.read_bytes() == data
    assert out.stat().st_blocks * 512 < MIB


@pytest.mark.parametrize("size", [0, 1, 4096, 12 * 4096, 12 * 4096 + 1, MIB])
def test_sizes_at_the_edges(image, tmp_path, size):
    other = copy(image, tmp_path)
    data = os.urandom(size)
    (tmp_path / "small").write_bytes(data)
    debugfs(other, f"rm {INSIDE}", "cd /upper/data", f"write {tmp_path}/small patches.h5")
    out = tmp_path / "out"
    extract.extract(other, expected(PATCHES, data, tmp_path), out, 2)
    assert out.read_bytes() == data


def test_a_triple_indirect_file():
    """16 GiB and more: the pointers, on a file that is one hole but for its last block."""
    image = SimpleNamespace(path="i", block=1024, blocks=10**9, read=None)
    tables = {7: [0] * 255 + [8], 8: [0] * 255 + [9], 9: [0] * 255 + [4242]}
    image.read = lambda place, length: struct.pack("<256I", *tables[place // 1024])
    for name in ("_blocks", "_below", "_extent"):
        setattr(image, name, getattr(Ext3, name).__get__(image))
    last = 12 + 256 + 256**2 + 256**3
    inode = SimpleNamespace(size=last * 1024, pointers=(*[0] * 14, 7))
    hole, end = Ext3.extents(image, inode)
    assert (hole.offset, hole.position, hole.length) == (0, None, (last - 1) * 1024)
    assert (end.offset, end.position, end.length) == ((last - 1) * 1024, 4242 * 1024, 1024)


def refused(image, out, path=PATCHES, source=None):
    """The message of an extraction that must fail and leave nothing."""
    with pytest.raises(InputError) as caught:
        extract.extract(image, manifest.read(source or image).content(path), out, 2)
    assert not out.exists()
    assert not list(out.parent.glob(".out*"))
    return str(caught.value)


def test_one_flipped_bit_is_refused_with_its_place(image, tmp_path):
    other = copy(image, tmp_path)
    with Ext3(other) as source:
        extents = source.extents(source.file(INSIDE))
        found = next(e for e in extents if e.offset + e.length > 4 * MIB)
        position = found.position + 4 * MIB - found.offset
    with other.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    message = refused(other, tmp_path / "out")
    assert f"{PATCHES} differs from its checksum in bytes {4 * MIB} to {5 * MIB}" in message


def test_a_pipe_in_place_of_the_image_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.ext3")
    with pytest.raises(InputError, match=r"pipe\.ext3: is a named pipe; expected a file"):
        Ext3(tmp_path / "pipe.ext3")


def test_a_truncated_image_is_refused(image, tmp_path):
    other = copy(image, tmp_path)
    os.truncate(other, 5 * MIB)
    assert "truncated: 5242880 bytes, its superblock says" in refused(other, tmp_path / "out")
    os.truncate(other, 100)
    assert "not an ext3 image" in refused(other, tmp_path / "out")


def test_a_wrong_block_pointer_is_refused(image, tmp_path):
    for value in (0x7FFFFFFF, 0xFFFFFFFF):
        other = copy(image, tmp_path)
        debugfs(other, f"sif {INSIDE} block[IND] {value}")
        assert "is outside the image" in refused(other, tmp_path / "out")
        other = copy(image, tmp_path)
        debugfs(other, f"sif {INSIDE} block[3] {value}")
        assert "is outside the image" in refused(other, tmp_path / "out")


def test_noise_in_the_image_never_escapes_as_a_fault(image, tmp_path):
    """Random bytes over the metadata: refused in one line, or the file is right."""
    data = image.read_bytes()
    out = tmp_path / "out"
    wanted = manifest.read(image).content(PATCHES)
    for number in range(30):
        other = tmp_path / "noise"
        start = 1024 + number * 700
        other.write_bytes(data[:start] + os.urandom(64) + data[start + 64 :])
        try:
            extract.extract(other, wanted, out, 2)
        except InputError as error:
            assert str(other) in str(error)
        else:
            out.unlink()


def test_an_image_that_was_not_unmounted(image, tmp_path):
    other = copy(image, tmp_path)
    debugfs(other, "feature needs_recovery")
    assert "was mounted for writing and not unmounted" in refused(other, tmp_path / "out")


def test_a_path_that_is_not_there(image, tmp_path):
    wanted = manifest.read(image).content(PATCHES)
    for path, said in (
        ("/data/other.h5", "holds no /upper/data/other.h5"),
        ("/data", "/upper/data is not a regular file"),
        (f"{PATCHES}/x", "holds no"),
        ("/data/../data/patches.h5", "'..' is hidden, or leads to another folder"),
        ("/../upper/data/patches.h5", "'..' is hidden, or leads to another folder"),
    ):
        other = SimpleNamespace(**{**vars(wanted), "path": path})
        with pytest.raises(InputError, match=said):
            extract.extract(image, other, tmp_path / "out", 2)
    with pytest.raises(InputError, match=rf"holds no /data/x; it holds {PATCHES}"):
        manifest.read(image).content("/data/x")


def test_another_images_manifest(image, tmp_path):
    other = copy(image, tmp_path)
    wanted = manifest.read(other).content(PATCHES)
    shorter = SimpleNamespace(**{**vars(wanted), "size": wanted.size - 1})
    with pytest.raises(InputError, match="image and manifest do not belong together"):
        extract.extract(other, shorter, tmp_path / "out", 2)
    manifest.beside(other).write_text('{"schema": 1}')
    assert "not a manifest of an overlay" in refused_reading(other)
    manifest.beside(other).unlink()
    assert "belongs beside the image, copy both" in refused_reading(other)


def refused_reading(image):
    with pytest.raises(InputError) as caught:
        manifest.read(image)
    return str(caught.value)


def test_too_little_space(image, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=MIB))
    assert "needs 0.01 GB, 0.00 GB are free there" in refused(image, tmp_path / "out")


def test_a_file_of_another_content_is_not_replaced(image, tmp_path):
    out = tmp_path / "out"
    out.write_text("a day's work")
    with pytest.raises(InputError, match="exists"):
        extract.extract(image, manifest.read(image).content(PATCHES), out, 2)
    assert out.read_text() == "a day's work"


def test_the_name_is_held_while_it_is_extracted(image, tmp_path, monkeypatch, capsys):
    out = tmp_path / "copy"
    monkeypatch.setattr("sys.argv", ["cloudmask-stage", "extract", str(image), "--out", str(out)])
    with output.file_claimed(out):  # Say by cloudmask-prepare.
        assert stage.main() == 2
    assert not out.exists()
    assert stage.main() == 0


def test_space_that_runs_out_on_the_way(image, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(extract.os, "pwrite", full)
    with pytest.raises(Fault, match="No space left on device while it was written"):
        extract.extract(image, manifest.read(image).content(PATCHES), tmp_path / "out", 2)
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_did(image, content, tmp_path, monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr("sys.argv", ["cloudmask-stage", "extract", *map(str, words)])
        return stage.main(), capsys.readouterr()

    code, said = run(image, "--out", tmp_path / "out")
    assert (code, (tmp_path / "out").read_bytes()) == (0, content)
    assert "0.01 GB in" in said.out
    assert "checksum verified" in said.out
    code, said = run(image, "--out", tmp_path / "out")
    assert (code, "there already" in said.out) == (0, True)
    code, said = run(tmp_path / "none.ext3", "--out", tmp_path / "x")
    assert code == 2
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1


SLOWLY = """\
import sys, time
from cloudmask.commands import stage
from cloudmask.overlay.extract import _Copier
copy = _Copier.copy
_Copier.copy = lambda self, index: (time.sleep(0.3), copy(self, index))[1]
sys.exit(stage.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_an_extraction_that_a_signal_ends(image, content, tmp_path, number):
    command = [sys.executable, "-c", SLOWLY, "extract", image, "--out", tmp_path / "out"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not list(tmp_path.iterdir()) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    if number == signal.SIGTERM:
        assert process.wait(30) == EXIT_INTERRUPTED
        assert not list(tmp_path.iterdir())
    assert process.wait(30) != 0
    assert not (tmp_path / "out").exists()
    assert subprocess.run(command).returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_bytes() == content
