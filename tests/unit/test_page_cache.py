"""What the kernel holds of a file, and dropping it."""

import mmap
import os
import tempfile
from pathlib import Path

import pytest

from cloudmask.system import disk, page_cache

SIZE = 40 * mmap.PAGESIZE + 1


@pytest.fixture
def file(tmp_path):
    """A file of some pages on a disk, not in memory alone."""
    if disk.file_system(tmp_path) in disk.MEMORY:
        pytest.skip(f"{tmp_path} lives in memory: nothing can be dropped there")
    path = tmp_path / "data"
    path.write_bytes(os.urandom(SIZE))
    return path


def test_what_was_just_written_is_dropped_and_read_again(file):
    assert page_cache.resident_bytes(file) == SIZE
    content = file.read_bytes()
    page_cache.drop(file)
    assert page_cache.resident_bytes(file) == 0
    assert file.read_bytes() == content
    assert page_cache.resident_bytes(file) == SIZE


def test_a_file_is_looked_at_in_portions(file, monkeypatch):
    monkeypatch.setattr(page_cache, "PORTION", 16 * mmap.PAGESIZE)
    assert page_cache.resident_bytes(file) == SIZE
    page_cache.drop(file)
    with file.open("rb") as handle:
        os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(handle.fileno(), 1, 20 * mmap.PAGESIZE)
    assert page_cache.resident_bytes(file) == mmap.PAGESIZE


def test_pages_that_somebody_has_mapped_stay(file):
    with file.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as held:
        assert held[0] is not None
        page_cache.drop(file)
        assert page_cache.resident_bytes(file) > 0
        held.madvise(mmap.MADV_DONTNEED)
        page_cache.drop(file)
        assert page_cache.resident_bytes(file) == 0


def test_a_file_in_memory_cannot_be_dropped():
    folder = Path("/dev/shm")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        pytest.skip("no /dev/shm to write to")
    with tempfile.NamedTemporaryFile(dir=folder) as handle:
        handle.write(bytes(SIZE))
        handle.flush()
        page_cache.drop(Path(handle.name))
        assert page_cache.resident_bytes(Path(handle.name)) == SIZE


def test_nobody_tells_about_the_files_of_others(file, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert page_cache.resident_bytes(file) is None


def test_an_empty_file_and_none_at_all(tmp_path):
    (tmp_path / "empty").touch()
    assert page_cache.resident_bytes(tmp_path / "empty") == 0
    with pytest.raises(FileNotFoundError):
        page_cache.drop(tmp_path / "none")
