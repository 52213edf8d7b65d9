"""A folder that is the user's alone, opened once and used by its handle."""

import stat

import pytest

from cloudmask.system.private_folder import NotPrivate, PrivateFolder


def test_a_folder_is_made_private_and_found_again(tmp_path):
    with PrivateFolder.make(tmp_path, "mine") as folder:
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        (folder.below / "file").touch()
        assert folder.in_place
        with PrivateFolder.make(tmp_path, "mine") as again:
            assert (again.below / "file").exists()


def test_work_by_the_handle_stays_in_the_folder_when_its_name_is_given_away(tmp_path):
    with PrivateFolder.make(tmp_path, "mine") as folder:
        folder.path.rename(tmp_path / "moved")
        (tmp_path / "mine").mkdir()
        assert not folder.in_place
        (folder.below / "file").touch()
    assert (tmp_path / "moved" / "file").exists() and not (tmp_path / "mine" / "file").exists()


def test_a_folder_that_is_gone_cannot_be_opened(tmp_path):
    with pytest.raises(FileNotFoundError):
        PrivateFolder(tmp_path, "nothing")


def test_nothing_is_left_where_the_file_system_keeps_no_modes(tmp_path, monkeypatch):
    monkeypatch.setattr(stat, "S_IMODE", lambda mode: 0o755)
    with pytest.raises(NotPrivate, match="is open to other users"):
        PrivateFolder.make(tmp_path, "mine")
    assert list(tmp_path.iterdir()) == []
