"""Files of others are read only if they are files of a bounded size."""

import os
import socket
import tracemalloc

import pytest

from cloudmask.errors import InputError
from cloudmask.overlay.manifest import measure
from cloudmask.system import files, reading


def test_files_and_links_to_files_are_read(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "b"):
        assert reading.read_bytes(tmp_path / name, 5) == b"12345"
        reading.require_file(tmp_path / name)
    with pytest.raises(InputError, match=r"a: more than .* MiB; expected a smaller file"):
        reading.read_bytes(tmp_path / "a", 4)


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345" * 500_000)
    tracemalloc.start()
    try:
        assert reading.read_bytes(tmp_path / "a", 4 << 30) == b"12345" * 500_000
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_what_is_no_file_holds_nobody_up(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)
        listener.bind("socket")
        for name, kind in (
            ("pipe", "a named pipe"),
            ("link", "a named pipe"),
            ("folder", "a fold"),
        ):
            with pytest.raises(InputError, match=f"{name}: is {kind}.*; expected a file"):
                reading.read_bytes(tmp_path / name, 100)
            with pytest.raises(InputError, match=f"{name}: is {kind}"):
                reading.require_file(tmp_path / name)
        with pytest.raises(InputError, match="socket: is a socket"):
            reading.require_file(tmp_path / "socket")
    with pytest.raises(InputError, match="/dev/zero: is a device"):
        reading.read_bytes(reading.Path("/dev/zero"), 100)


def test_missing_file_is_an_oserror_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        reading.read_bytes(tmp_path / "nothing", 1)
    reading.require_file(tmp_path / "nothing")


def test_deep_json_is_a_value_error():
    with pytest.raises(ValueError, match="nested too deeply"):
        reading.parse_json("[" * 100_000)


@pytest.mark.parametrize("special", ["/dev/zero", "pipe"])
def test_what_never_ends_is_not_begun(tmp_path, special):
    """Checksums and logs are of files; a device would be read for ever."""
    path = tmp_path / "file"
    if special == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(special)
    for read in (files.sha256, files.whole_lines, lambda path: measure(path, "p", 1)):
        with pytest.raises(InputError, match="expected a file"):
            read(path)
