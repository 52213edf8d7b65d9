"""Plain tables for terminals and text files: columns of equal width."""

from collections.abc import Collection, Sequence


def plain_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> list[str]:
    """Lines of a table without rules; columns whose heads are in `right` are aligned right."""
    return ["  ".join(cells).rstrip() for cells in _aligned(heads, rows, right)]


def ruled_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()
) -> list[str]:
    """Lines of a table with rules in ASCII around it and below its heads."""
    head, *body = _aligned(heads, rows, right)
    rule = "+".join("-" * (len(cell) + 2) for cell in head)
    return [
        f"+{rule}+",
        f"| {' | '.join(head)} |",
        f"|{rule}|",
        *(f"| {' | '.join(cells)} |" for cells in body),
        f"+{rule}+",
    ]


def _aligned(
    heads: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]
) -> list[list[str]]:
    """All cells, the heads first, padded to the width of their column."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        [
            cell.rjust(width) if head in right else cell.ljust(width)
            for head, cell, width in zip(heads, cells, widths, strict=True)
        ]
        for cells in (heads, *rows)
    ]
