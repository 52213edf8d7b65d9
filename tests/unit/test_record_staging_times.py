"""What a job script hands on about staging, and whether the container has got what was staged."""

import json
import os
import tempfile

import pytest

from cloudmask.errors import InputError
from cloudmask.record import staging_times


@pytest.fixture
def staged(tmp_path, monkeypatch):
    """A staged folder, and the variable that describes it."""
    folder = tmp_path / "data"
    folder.mkdir()
    status = folder.stat()
    record = {
        "begin": 1,
        "end": 3.5,
        "data": "/scratch/x",
        "folder": [status.st_dev, status.st_ino],
    }
    monkeypatch.setenv(staging_times.VARIABLE, json.dumps(record))
    temporary = tmp_path / "tmp"
    temporary.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder


def test_times_and_folder_are_those_of_the_record(staged):
    assert staging_times.read() == (1.0, 3.5)
    staging_times.require_staged(staged)


def test_another_folder_in_its_place_is_refused(staged):
    staged.rename(staged.with_name("stolen"))
    staged.mkdir()
    with pytest.raises(InputError, match="not the folder /scratch/x that was staged; another user"):
        staging_times.require_staged(staged)
    staged.rmdir()
    with pytest.raises(InputError, match="No such file or directory; expected the staged data"):
        staging_times.require_staged(staged)


@pytest.mark.parametrize("how", ["open to others", "of another user"])
def test_a_folder_for_temporary_files_that_others_have_put_there_is_refused(staged, how):
    temporary = staged.with_name("tmp")
    if how == "open to others":
        temporary.chmod(0o777)
    elif os.geteuid():
        pytest.skip("only root can give a folder away")
    else:
        os.chown(temporary, 65534, 65534)
    with pytest.raises(InputError, match="expected a private folder for temporary files"):
        staging_times.require_staged(staged)


def test_nothing_staged(tmp_path, monkeypatch):
    monkeypatch.delenv(staging_times.VARIABLE, raising=False)
    begin, end = staging_times.read()
    assert begin == end
    staging_times.require_staged(tmp_path / "nothing")
    record = {"begin": 1, "end": 2, "data": "", "folder": None}
    monkeypatch.setenv(staging_times.VARIABLE, json.dumps(record))
    staging_times.require_staged(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"begin": "x", "end": 1}', '{"begin": null}'])
def test_what_is_no_record_is_refused_in_one_line(monkeypatch, text):
    monkeypatch.setenv(staging_times.VARIABLE, text)
    with pytest.raises(InputError, match="expected the record that cloudmask-stage prints"):
        staging_times.read()
