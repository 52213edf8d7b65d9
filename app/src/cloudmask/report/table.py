"""One table: values for programs (CSV) and for people (Markdown, HTML)."""

import html
from dataclasses import dataclass, field

from cloudmask.system.files import csv_text

LONG = 20  # characters, from which on a cell must not become a narrow column of words
ROWS_SHOWN = 200  # in the page; the CSV file has all


@dataclass(frozen=True)
class Column:
    """key: in the CSV file; head: for people; digits: of a number; shown: also in the page."""

    key: str
    head: str
    digits: int | None = None
    shown: bool = True


@dataclass(frozen=True)
class Table:
    """rows: a dictionary each; note: how to read it; empty tables say why in `note`."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: list[dict]
    note: str = ""
    shown: list[dict] | None = field(default=None)

    @property
    def _visible(self) -> list[dict]:
        return (self.rows if self.shown is None else self.shown)[:ROWS_SHOWN]

    @property
    def _heads(self) -> list[Column]:
        """Columns for people; one without any value is left out."""
        return [
            column
            for column in self.columns
            if column.shown and any(row.get(column.key) is not None for row in self._visible)
        ]

    @property
    def rest(self) -> str:
        """What the page leaves out, in words."""
        left = len(self.rows) - len(self._visible)
        return f"{left} more rows in tables/{self.name}.csv." if left else ""

    def to_csv(self) -> str:
        """All columns and rows; what is not known is empty."""
        return csv_text([column.key for column in self.columns], self.rows)

    def to_markdown(self) -> str:
        """A pipe table, numbers rounded."""
        heads = self._heads
        lines = [
            _line(column.head for column in heads),
            _line("---" if column.digits is None else "---:" for column in heads),
        ]
        for row in self._visible:
            lines.append(_line(_cell(row.get(c.key), c.digits).replace("|", "/") for c in heads))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """An HTML table, which notebooks show as well."""
        heads = self._heads
        cells = "".join(f"<th scope='col'>{html.escape(column.head)}</th>" for column in heads)
        body = []
        for row in self._visible:
            line = []
            for column in heads:
                text = _cell(row.get(column.key), column.digits)
                kind = " class='long'" if len(text) > LONG else ""
                kind = kind if column.digits is None else " class='n'"
                line.append(f"<td{kind}>{html.escape(text)}</td>")
            body.append(f"<tr>{''.join(line)}</tr>")
        return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value, digits: int | None) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) and digits is not None:
        return f"{value:,.{digits}f}".replace(",", "\u2009")
    return str(value)
