"""How much room a disk has."""

import shutil

import pytest

from cloudmask.errors import InputError
from cloudmask.system import disk


def test_too_little_space_says_what_is_needed_and_what_is_free(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    disk.require_space(tmp_path, 10**9, "store")
    with pytest.raises(InputError, match=r"store: needs 2.50 GB, 1.00 GB are free there"):
        disk.require_space(tmp_path, 2_500_000_000, "store")


def test_the_file_system_of_a_folder(tmp_path):
    assert disk.file_system(tmp_path) not in {"", *disk.NETWORK}
