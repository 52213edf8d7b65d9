"""Files that are either complete or not there."""

import pytest

from cloudmask.system import files


def test_csv_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "t.csv"
    files.write_csv(path, ["a", "b"], [{"a": 1, "b": "x, y", "c": 3}, {"a": None}])
    assert path.read_text() == 'a,b\n1,"x, y"\n,\n'

    def rows():
        yield {"a": 1}
        raise RuntimeError

    with pytest.raises(RuntimeError):
        files.write_csv(path, ["a"], rows())
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text().startswith("a,b\n")


def test_half_a_line_is_cut_off(tmp_path):
    path = tmp_path / "log"
    assert files.whole_lines(path) == []
    path.write_text("one\ntwo\nthr")
    assert files.whole_lines(path) == ["one", "two"]
    assert path.read_text() == "one\ntwo\n"
    path.write_text("o")
    assert files.whole_lines(path) == []
    assert path.read_text() == ""
