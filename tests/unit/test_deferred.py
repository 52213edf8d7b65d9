"""HDF5 files changed in memory and written at once: nothing half-changed, no crash of HDF5."""

import errno
import os
import resource
import subprocess
import sys

import h5py
import numpy as np
import pytest

from cloudmask.patches import deferred
from cloudmask.patches.deferred import hdf5_file


def fill(file):
    file["big"] = np.arange(10**6).reshape(1000, 1000)
    file["table"] = np.arange(100, dtype=np.uint8)
    file.attrs["name"] = "x" * 1000


def test_content_is_that_of_an_ordinary_file(tmp_path):
    with hdf5_file(tmp_path / "a.h5", "w") as file:
        fill(file)
    with hdf5_file(tmp_path / "a.h5", "r+") as file:
        del file["table"]
        file["table"] = np.arange(70_000)
        file["big"][500, 500] = -1
    with h5py.File(tmp_path / "a.h5") as file:
        np.testing.assert_array_equal(file["table"], np.arange(70_000))
        assert file["big"][500, 500] == -1
        assert file["big"][999, 999] == 10**6 - 1
        assert file.attrs["name"] == "x" * 1000


def test_a_block_that_fails_changes_nothing(tmp_path):
    with hdf5_file(tmp_path / "a.h5", "w") as file:
        fill(file)
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(RuntimeError), hdf5_file(tmp_path / "a.h5", "r+") as file:
        del file["big"]
        raise RuntimeError
    assert (tmp_path / "a.h5").read_bytes() == before


def add_more(path):
    with hdf5_file(path, "r+") as file:
        file["more"] = np.arange(10**6)


def test_a_full_disk_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a.h5"
    with hdf5_file(path, "w") as file:
        fill(file)
    size, write = path.stat().st_size, os.pwrite

    def full(descriptor, data, offset):
        if offset + len(data) > size + 10_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data, offset)

    monkeypatch.setattr(deferred.os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.h5'"):
        add_more(path)
    with h5py.File(path) as file:
        assert list(file) == ["big", "table"]
        np.testing.assert_array_equal(file["big"], np.arange(10**6).reshape(1000, 1000))


@pytest.mark.slow
def test_prepare_survives_a_limit_of_its_files(scenes, tmp_path):
    """`ulimit -f` from far below the store's size to above it: one line, never a crash."""
    out = tmp_path / "p.h5"
    program = "import sys; from cloudmask.commands.prepare import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--scenes", scenes, "--out", out, "--workers", "1"]
    size = 24 * 256 * 256 * 19
    codes = set()
    for limit in (size // 2, *range(size - 8192, size + 32768, 8192), size + (1 << 20)):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda limit=limit: resource.setrlimit(
                resource.RLIMIT_FSIZE, (limit, limit)
            ),
        )
        codes.add(done.returncode)
        assert done.returncode in {0, 1}, done.stderr
        errors = [line for line in done.stderr.splitlines() if not line.startswith("prepare: ")]
        if done.returncode:
            assert len(errors) == 1 and "File too large: " in errors[0], done.stderr
        out.unlink(missing_ok=True)
    assert codes == {0, 1}
