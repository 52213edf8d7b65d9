"""How every figure looks, and what is common to their making."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cloudmask.report.groups import Group

# Okabe and Ito's palette, which colour-blind readers tell apart; without its yellow, too light on
# white. Line styles and markers change as well, for print in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#666666"
# Narrow enough that the text is readable where a phone shrinks the figure to its width.
WIDTH, HEIGHT = 5.4, 3.3  # inches, of the axes without legend
LEGEND_ROW = 0.21
STYLE = {
    "font.size": 10,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.5,
    "svg.hashsalt": "cloudmask",
    "figure.dpi": 100,
}
MOST_IN_LEGEND = 16


@dataclass(frozen=True)
class Drawing:
    """A figure, or the reason why there is none; `caption` tells how to read it."""

    name: str
    title: str
    caption: str
    figure: Any = None
    missing: str = ""

    def png(self) -> bytes:
        """The figure at 160 dots per inch."""
        return self._save("png", dpi=160)

    def svg(self) -> bytes:
        """The figure as vectors; the same runs give the same bytes."""
        return self._save("svg", metadata={"Date": None})

    def _repr_png_(self) -> bytes | None:
        return self.png() if self.figure else None

    def _repr_markdown_(self) -> str:
        return f"*{self.missing or self.caption}*"

    def _save(self, kind: str, **options) -> bytes:
        import matplotlib

        with matplotlib.rc_context(STYLE):
            content = io.BytesIO()
            self.figure.savefig(content, format=kind, **options)
        return content.getvalue()


class Look(NamedTuple):
    """Colour, line style and marker of a group, the same in every figure."""

    colour: str
    line: str
    marker: str


def looks(groups: Sequence[Group]) -> dict[str, Look]:
    """By label; own groups first, so that they have the clearest looks."""
    order = {"run": 0, "log": 1, "paper": 2}
    ordered = sorted(groups, key=lambda group: order[group.runs[0].origin])
    return {
        group.label: Look(
            COLOURS[k % len(COLOURS)],
            LINES[k // len(COLOURS) % len(LINES)],
            MARKERS[k % len(MARKERS)],
        )
        for k, group in enumerate(ordered)
    }


def axes(title: str, x: str, y: str, rows: int = 0, height: float = HEIGHT):
    """A figure and its axes, with room for `rows` lines of legend below."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height + LEGEND_ROW * rows), layout="constrained")
        axis = figure.add_subplot()
        axis.set_title(title)
        axis.set_xlabel(x)
        axis.set_ylabel(y)
    return figure, axis


def legend(figure, handles: Sequence, columns: int = 1) -> None:
    """Below the axes, where it covers no data."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        shown = list(handles)[:MOST_IN_LEGEND]
        if len(handles) > len(shown):
            shown.append(handle(f"and {len(handles) - len(shown)} more groups", GREY))
        figure.legend(handles=shown, loc="outside lower left", ncols=columns)


def handle(label: str, colour: str, line: str = "-", marker: str | None = None, fill: str = "full"):
    """One entry of a legend."""
    from matplotlib.lines import Line2D

    style = {"color": colour, "linestyle": line, "marker": marker, "fillstyle": fill}
    return Line2D([], [], markersize=6, label=label, **style)


def label_row(axis, row: int, text: str) -> None:
    """The name of a row of dots, above them and inside the axes: on a phone width is scarce."""
    axis.annotate(
        text,
        (0, row - 0.12),
        xycoords=("axes fraction", "data"),
        fontsize=9,
        va="bottom",
        # On white, so that it stays readable where it crosses a line of the grid.
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def rows_of(count: int) -> int:
    """Lines that a legend of `count` entries takes."""
    return min(count, MOST_IN_LEGEND + 1)


def spread(count: int) -> Iterator[float]:
    """Offsets around 0 that keep `count` dots of a row from hiding each other."""
    for k in range(count):
        yield 0.0 if count == 1 else 0.16 * (k % 5 - 2) / 2
