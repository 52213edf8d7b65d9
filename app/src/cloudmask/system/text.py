"""Text of others, such as file names, where a line or a cell is expected."""

import re
from collections.abc import Iterable

# What spreadsheets take for the beginning of a formula, also in its full-width form.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MARKDOWN = re.compile(r"[\\`*\[\]<>|~]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])|^([#+\-=])")
_LIST_NUMBER = re.compile(r"^(\d+)([.)])")


def one_line(text: str) -> str:
    """The text with line breaks and whatever else cannot be printed as escapes, such as \\n.

    A name that is not UTF-8 so becomes text that can be encoded.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def plural(count: int, noun: str, many: str = "") -> str:
    """The count with its noun: "1 run", "2 runs"; `many`: the plural where an s does not do."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def named(names: Iterable[str], most: int = 6) -> str:
    """The names in one line, no more than `most` of them and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(names[:most]) + more


def csv_cell(text: str) -> str:
    """The text as a spreadsheet shows it and does not run it: behind an apostrophe if need be.

    A number stays one. `from_csv_cell` gives the same text back.
    """
    return f"'{text}" if _is_formula(text) else text


def from_csv_cell(text: str) -> str:
    """The text of which `csv_cell` made this."""
    return text[1:] if text.startswith("'") and _is_formula(text) else text


def markdown(text: str) -> str:
    """The text, in one line, such that any viewer of Markdown shows it and nothing else."""
    line = _MARKDOWN.sub(lambda match: f"\\{match[0]}", one_line(text))
    return _LIST_NUMBER.sub(r"\1\\\2", line)


def markdown_code(text: str) -> str:
    """The same as code."""
    line = one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    padding = " " if "`" in line or not line.strip() else ""
    return f"{fence}{padding}{line}{padding}{fence}"


def _is_formula(text: str) -> bool:
    return bool(_FORMULA.match(text)) and not _NUMBER.fullmatch(text)
