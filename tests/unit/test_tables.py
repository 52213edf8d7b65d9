"""Plain tables: columns of equal width, numbers to the right, rules where they are wanted."""

from cloudmask.system.tables import plain_table, ruled_table

HEADS, ROWS = ("name", "Time"), (["total", "12.5"], ["a", "3"])


def test_columns_have_equal_width():
    assert plain_table(HEADS, ROWS) == ["name   Time", "total  12.5", "a      3"]
    assert plain_table(HEADS, ROWS, right=("Time",))[2] == "a         3"


def test_rules_surround_a_table_and_its_heads():
    assert ruled_table(HEADS, ROWS, right=("Time",)) == [
        "+-------+------+",
        "| name  | Time |",
        "|-------+------|",
        "| total | 12.5 |",
        "| a     |    3 |",
        "+-------+------+",
    ]


def test_a_table_may_have_no_rows():
    assert plain_table(HEADS, []) == ["name  Time"]
