"""Names out of files of others never lead out of the folder that they are joined to."""

from pathlib import Path

import pytest

from cloudmask.errors import InputError
from cloudmask.system import names

BAD_NAMES = {
    "": "empty",
    ".": "hidden",
    "..": "hidden",
    ".lock": "hidden",
    "/": "a path",
    "/etc/passwd": "a path",
    "a/b": "a path",
    "a\nb": "control characters",
    "a\x00": "control characters",
    "a\x7f": "control characters",
    "a\u2028b": "control characters",
    "a\udc80": "control characters",
    "x" * 201: "longer than 200 bytes",
    "ü" * 101: "longer than 200 bytes",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused_in_one_line(name):
    with pytest.raises(InputError, match=BAD_NAMES[name]) as refused:
        names.file_name(name, "file.json: key")
    assert str(refused.value).startswith("file.json: key: ")
    assert str(refused.value).isprintable() and len(str(refused.value)) < 200


@pytest.mark.parametrize("name", ["S3A_SL_1_RBT.hdf", "Müller 7.h5", "x" * 200, "-f", "a..b", "~"])
def test_good_names_stay(name):
    assert names.file_name(name, "x") == name


@pytest.mark.parametrize(
    "path", ["..", "a/../b", "/a", "a//b", "a/", "", "./a", "a/.git/b", "a/\n", "x/" * 600, None, 7]
)
def test_paths_stay_below_any_folder(path):
    with pytest.raises(InputError, match=r"listing: .* cannot be a path"):
        names.relative_path(path, "listing")


def test_good_path_is_joined(tmp_path):
    joined = tmp_path / names.relative_path("deeper/S3A x.hdf", "listing")
    assert joined == Path(tmp_path, "deeper", "S3A x.hdf")


@pytest.mark.parametrize("other", [None, 3, b"a", ["a"]])
def test_what_is_no_text_names_nothing(other):
    with pytest.raises(InputError, match="is not text"):
        names.file_name(other, "x")
