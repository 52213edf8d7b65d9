"""What the log says of the caches before the clock starts."""

import json
import os
import shutil

import pytest

from cloudmask.patches.store import PatchStore
from cloudmask.patches.verification import verify_sample
from cloudmask.record import caches
from cloudmask.system import disk, page_cache


@pytest.fixture(autouse=True)
def variables(monkeypatch):
    for name in (caches.VARIABLE, caches.CODE, caches.OVERLAY, "CLOUDMASK_STAGED"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data(tmp_path):
    """A file on a disk, all of it in the page cache."""
    if disk.file_system(tmp_path) in disk.MEMORY:
        pytest.skip(f"{tmp_path} lives in memory: nothing can be dropped there")
    path = tmp_path / "patches.h5"
    path.write_bytes(os.urandom(100_000))
    return path


def test_the_store_is_dropped_and_the_event_says_how_much(data):
    cleared = caches.clear(data)
    assert cleared.value is True
    assert cleared.metadata == {
        "method": "posix_fadvise",
        "bytes": 100_000,
        "resident_before": 100_000,
        "resident_after": 0,
    }


def test_a_store_that_is_open_lets_go_of_its_pages(data, store_path):
    """Else those that were looked at before the clock starts would stay.

    The store is a copy: other tests may still have the shared one open, and its pages mapped.
    """
    shutil.copyfile(store_path, data)
    store = PatchStore(data)
    verify_sample(store)
    store.release_pages()
    cleared = caches.clear(store.path)
    assert cleared.value and cleared.metadata["resident_before"] > 0
    verify_sample(store)


def test_turned_off_is_false(data, monkeypatch):
    monkeypatch.setenv(caches.VARIABLE, "none")
    cleared = caches.clear(data)
    assert (cleared.value, cleared.metadata["method"]) == (False, "none")
    assert page_cache.resident_bytes(data) == 100_000


@pytest.mark.parametrize(("code", "told"), [("0", True), ("3", False)])
def test_the_sites_command_counts_where_the_kernel_tells_nothing(data, monkeypatch, code, told):
    monkeypatch.setattr(page_cache, "resident_bytes", lambda path: None)
    assert caches.clear(data).value is False
    monkeypatch.setenv(caches.VARIABLE, "sudo drop_caches")
    monkeypatch.setenv(caches.CODE, code)
    cleared = caches.clear(data)
    assert cleared.value is told
    assert cleared.metadata["command"] == "sudo drop_caches"
    assert cleared.metadata["exit_code"] == int(code)


def test_a_command_that_nobody_ran_is_no_clearing(data, monkeypatch, caplog):
    monkeypatch.setattr(page_cache, "resident_bytes", lambda path: None)
    monkeypatch.setenv(caches.VARIABLE, "drop_caches")
    cleared = caches.clear(data)
    assert (cleared.value, cleared.metadata["exit_code"]) == (False, None)
    assert "no job script has run it" in caplog.text


def test_what_stays_is_told(data, monkeypatch, caplog):
    monkeypatch.setattr(page_cache, "drop", lambda path: None)
    cleared = caches.clear(data)
    assert (cleared.value, cleared.metadata["resident_after"]) == (False, 100_000)
    assert "100000 bytes stay in the page cache" in caplog.text


def test_the_image_behind_a_mount_is_dropped_too(data, monkeypatch):
    image = data.with_name("patches.ext3")
    image.write_bytes(os.urandom(50_000))
    monkeypatch.setenv(caches.OVERLAY, str(image))
    # Of a copy on the node the image is not read.
    staged = {"begin": 1, "end": 2, "data": "/scratch/x", "folder": [1, 2]}
    monkeypatch.setenv("CLOUDMASK_STAGED", json.dumps(staged))
    assert caches.clear(data).metadata["bytes"] == 100_000
    monkeypatch.setenv("CLOUDMASK_STAGED", json.dumps(staged | {"data": ""}))
    cleared = caches.clear(data)
    assert cleared.value and cleared.metadata["bytes"] == 150_000
    assert "mounted image" in cleared.metadata["remark"]
    assert page_cache.resident_bytes(image) == 0


def test_a_store_that_is_gone_ends_nothing(tmp_path):
    cleared = caches.clear(tmp_path / "none.h5")
    assert cleared.value is False and "No such file" in cleared.metadata["remark"]
