"""The folder of a node cache: used only where it is the user's alone, and nothing else removed."""

import os
from pathlib import Path

import pytest

from cloudmask.overlay.cache_folder import CacheFolder, Lease, Unusable

CONTENT = "0" * 64  # the id of some files


@pytest.fixture
def precious(tmp_path):
    """A folder of the user's elsewhere, which must stay as it is."""
    folder = tmp_path / "precious"
    (folder / "results").mkdir(parents=True)
    (folder / "thesis").write_text("years of work")
    yield folder
    assert sorted(path.name for path in folder.iterdir()) == ["results", "thesis"]


def _by_link(folder: Path, precious: Path) -> None:
    folder.symlink_to(precious)


def _open_to_others(folder: Path, precious: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _of_another_user(folder: Path, precious: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_by_link, "is a link or a file"),
        (_open_to_others, "can be written to by other users"),
        (_of_another_user, "belongs to another user"),
    ],
)
def test_a_folder_that_is_not_the_users_alone_is_passed_over(tmp_path, precious, prepare, reason):
    folder = CacheFolder(tmp_path)
    prepare(folder.path, precious)
    with pytest.raises(Unusable, match=reason):
        Lease(folder, CONTENT).acquire()
    folder.clean(kept=True)


def test_only_what_the_cache_has_made_is_removed(tmp_path):
    folder = CacheFolder(tmp_path)
    (folder.path / "mine").mkdir(parents=True)
    folder.path.chmod(0o700)
    lease = Lease(folder, CONTENT)
    lease.acquire()
    lease.release(keep=False)
    folder.clean(kept=True)
    assert [path.name for path in folder.path.iterdir()] == ["mine"]
