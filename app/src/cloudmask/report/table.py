"""One table: values for programs (CSV) and for people (Markdown, HTML)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cloudmask.report.template import relative_link, template
from cloudmask.system.files import csv_text
from cloudmask.system.text import markdown, plural

LONG = 20  # characters, from which on a cell must not become a narrow column
Row = Mapping[str, object]
ROWS_SHOWN = 200  # in the page; the CSV file has all


@dataclass(frozen=True)
class Column:
    """key: in the CSV file; head: for people; digits: of a number; shown: also in the page.

    link: key of the rows under which the path stands that the cell leads to.
    """

    key: str
    head: str
    digits: int | None = None
    shown: bool = True
    link: str | None = None


class Cell(NamedTuple):
    """One cell for people, with the class that the page's stylesheet knows it by, or "".

    value: the number by which rows are sorted; path: what the cell leads to, or "".
    """

    text: str
    css_class: str
    value: float | None
    path: str


@dataclass(frozen=True)
class Table:
    """rows: a dictionary each; note: how to read it; empty tables say why in `note`."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    note: str = ""
    shown: Sequence[Row] | None = None

    @property
    def visible(self) -> Sequence[Row]:
        """The rows for people."""
        return (self.rows if self.shown is None else self.shown)[:ROWS_SHOWN]

    @property
    def heads(self) -> list[Column]:
        """Columns for people; one without any value is left out."""
        return [
            column
            for column in self.columns
            if column.shown and any(row.get(column.key) is not None for row in self.visible)
        ]

    @property
    def cells(self) -> list[list[Cell]]:
        """The rows for people, numbers rounded, in the columns of `heads`."""
        heads = self.heads
        return [[_cell(row, column) for column in heads] for row in self.visible]

    @property
    def remarks(self) -> str:
        """How to read it, and what the page leaves out of it."""
        left = len(self.rows) - len(self.visible)
        rest = f"{plural(left, 'more row')} in tables/{self.name}.csv." if left else ""
        return " ".join(part for part in (self.note, rest) if part)

    def to_csv(self) -> str:
        """All columns and rows; what is not known is empty."""
        return csv_text([column.key for column in self.columns], self.rows)

    def to_markdown(self, base: Path | str = ".") -> str:
        """A pipe table, numbers rounded; links lead from the folder `base`."""
        lines = [
            _line(markdown(column.head) for column in self.heads),
            _line("---" if column.digits is None else "---:" for column in self.heads),
        ]
        lines += [_line(_markdown(cell, base) for cell in row) for row in self.cells]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """An HTML table, which notebooks show; links lead from their folder."""
        return template("table.html.j2").render(table=self, base=".")


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(cell: Cell, base: Path | str) -> str:
    text = markdown(cell.text)
    return f"[{text}]({relative_link(cell.path, base)})" if cell.path else text


def _cell(row: Row, column: Column) -> Cell:
    value = row.get(column.key)
    text = _text(value, column.digits)
    path = str(row.get(column.link) or "") if column.link else ""
    number = float(value) if isinstance(value, (int, float)) else None
    if column.digits is not None:
        return Cell(text, "n", number, path)
    return Cell(text, "long" if len(text) > LONG else "", number, path)


def _text(value: object, digits: int | None) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and digits is not None:
        return f"{value:,.{digits}f}"
    return str(value)
