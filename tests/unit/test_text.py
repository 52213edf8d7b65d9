"""Text of others is shown, and neither run by a spreadsheet nor taken for Markdown."""

import csv
import io
import os

import pytest

from cloudmask.system import files, text

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "'=1",
    "''@x",
    "-",
    "+",
]
NUMBERS = ["-1", "+1.5", "-1e-5", "12", ".5", "-.5"]
PLAIN = ["", "paper-1", "'quoted'", "a=b", "x\ny", 'with "quotes", commas', "nan"]


@pytest.mark.parametrize("cell", FORMULAS)
def test_no_cell_is_a_formula(cell):
    written = files.csv_text([cell], [{cell: cell}])
    for row in csv.reader(io.StringIO(written, newline="")):
        assert row == [f"'{cell}"]


@pytest.mark.parametrize("cell", [*NUMBERS, *PLAIN])
def test_numbers_and_other_text_stay(cell):
    written = files.csv_text(["a", "b"], [{"a": cell, "b": -1.5}])
    assert [*csv.reader(io.StringIO(written, newline=""))][1] == [cell, "-1.5"]


@pytest.mark.parametrize("cell", [*FORMULAS, *NUMBERS, *PLAIN])
def test_the_same_text_is_read_back(cell):
    written = files.csv_text(["a", "b"], [{"a": cell, "b": "x"}])
    assert [*files.read_csv(io.StringIO(written, newline=""))] == [{"a": cell, "b": "x"}]


def test_a_short_line_and_a_long_one():
    rows = [*files.read_csv(["a,b\n", "1\n", "1,2,3\n"])]
    assert rows == [{"a": "1", "b": None}, {"a": "1", "b": "2"}]


def test_names_become_one_line_that_can_be_printed():
    name = os.fsdecode(b"a\nb\xff\x1b[2J\xc3\xa4")
    assert text.one_line(name) == "a\\nb\\udcff\\x1b[2Jä"
    text.one_line(name).encode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a|b", "a\\|b"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("<script>`", "\\<script\\>\\`"),
        ("a\n# b", "a\\\\n# b"),
        ("# head", "\\# head"),
        ("1. item", "1\\. item"),
        ("- item", "\\- item"),
        ("_a_ val_loss __b", "\\_a\\_ val_loss \\_\\_b"),
        ("&lt; & co", "\\&lt; & co"),
    ],
)
def test_markdown_shows_it(name, shown):
    assert text.markdown(name) == shown


@pytest.mark.parametrize("name", ["a", "`", "``a`", "a\nb", " ", "|"])
def test_code_holds_it(name):
    line = text.markdown_code(name)
    fence = line[: len(line) - len(line.lstrip("`"))]
    assert line.endswith(fence)
    assert fence not in line[len(fence) : -len(fence)]
    assert "\n" not in line


def test_a_count_agrees_with_its_noun():
    assert [text.plural(n, "scene") for n in (0, 1, 2)] == ["0 scenes", "1 scene", "2 scenes"]
    assert [text.plural(n, "patch", "patches") for n in (1, 2)] == ["1 patch", "2 patches"]
