"""How every figure looks, and what is common to their making."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cloudmask.report.groups import Group
from cloudmask.system.text import plural

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette without its yellow, which is too light on white, and with a darker
# vermilion, which deuteranopes can tell from the orange. Line styles and markers change as well,
# for print in grey.
COLORS = ("#0072B2", "#B04500", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#5A5A5A"
# Narrow enough that the text is readable where a phone shrinks the figure to its width.
WIDTH, HEIGHT = 5.4, 3.3  # inches, of the axes without legend
LEGEND_ROW = 0.21
LINE = 74  # characters of 9 points that fit into the width, wide ones included
LEGEND_LINES = {1: 68, 2: 40}  # of an entry of a legend, by its columns
LEGEND_LINE = 0.15  # inches of a further line of an entry
ROW = 0.5  # inches of a row of dots with its name
ROW_LINE = 0.32  # of a row: a further line of its name
MIDDLE = 0.2  # of a row of dots, below the row's own height, where its name stands
STYLE: "dict[RcKeyType, object]" = {
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
    """A figure, or the reason why there is none; `caption` explains how to read it."""

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


def plain_text() -> None:
    """Have a dollar sign in the names of others mean itself and not the begin of a formula.

    For the whole process: every text of a figure takes it from there when it is made.
    """
    import matplotlib

    matplotlib.rcParams["text.parse_math"] = False


class Look(NamedTuple):
    """Color, line style and marker of a group, the same in every figure."""

    color: str
    line: str
    marker: str


def looks(groups: Sequence[Group]) -> dict[str, Look]:
    """By label; own groups first, so that they have the clearest looks."""
    order = {"run": 0, "log": 1, "paper": 2}
    ordered = sorted(groups, key=lambda group: order[group.runs[0].origin])
    return {group.label: look(k) for k, group in enumerate(ordered)}


def look(number: int) -> Look:
    """The look of that number, from 0; a color comes back with other lines and markers."""
    again, color = divmod(number, len(COLORS))
    return Look(COLORS[color], LINES[again % len(LINES)], MARKERS[(color + again) % len(MARKERS)])


def axes(title: str, x: str, y: str, rows: int = 0, height: float = HEIGHT):
    """A figure and its axes, with room for `rows` lines of legend below."""
    import matplotlib
    from matplotlib.figure import Figure

    plain_text()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height + LEGEND_ROW * rows), layout="constrained")
        axis = figure.add_subplot()
        axis.set_title(title)
        axis.set_xlabel(x)
        axis.set_ylabel(y)
    return figure, axis


def row_axes(title: str, x: str, names: Sequence[str]):
    """A figure and its axes for rows of dots, each below its name, and a legend of two.

    Returns the heights of the rows as well, in which `dots` are drawn.
    """
    import matplotlib
    from matplotlib.figure import Figure

    plain_text()
    rows = row_heights(names)
    with matplotlib.rc_context(STYLE | {"axes.grid.axis": "x"}):
        size = (WIDTH, ROW * (rows[-1] + 1) + 1.1 + 2 * LEGEND_ROW)
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.add_subplot()
        axis.set_title(title)
        axis.set_xlabel(x)
        axis.set_ylim(rows[-1] + 0.5, -0.75)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        for row, name in zip(rows, names, strict=True):
            _name_row(axis, row, name)
    return figure, axis, rows


def row_heights(names: Sequence[str]) -> list[float]:
    """Where rows stand, counted downward in heights of a row; long names take several lines."""
    rows: list[float] = []
    for name in names:
        room = ROW_LINE * wrapped(name).count("\n")
        rows.append(room + (rows[-1] + 1 if rows else 0))
    return rows


def wrapped(text: str, length: int = LINE) -> str:
    """The text in lines that fit into the width of a figure."""
    # A line may end with a dot between two parts of a name, and begins with none.
    kept = text.replace(" · ", "\u00a0· ")
    lines = textwrap.wrap(kept, length, break_on_hyphens=False)
    return "\n".join(lines).replace("\u00a0", " ")


def legend(figure, handles: Sequence, columns: int = 1) -> None:
    """Below the axes, where it covers no data."""
    import matplotlib

    lines = 0
    with matplotlib.rc_context(STYLE):
        shown = list(handles)[:MOST_IN_LEGEND]
        if len(handles) > len(shown):
            shown.append(handle(f"and {plural(len(handles) - len(shown), 'more group')}", GREY))
        for entry in shown:
            entry.set_label(wrapped(entry.get_label(), LEGEND_LINES[columns]))
            lines += entry.get_label().count("\n")
        figure.set_figheight(figure.get_figheight() + LEGEND_LINE * lines)
        figure.legend(handles=shown, loc="outside lower left", ncols=columns)


def handle(label: str, color: str, line: str = "-", marker: str | None = None, fill: str = "full"):
    """One entry of a legend."""
    from matplotlib.lines import Line2D

    entry = Line2D([], [], color=color, markersize=6, label=label)
    entry.set(linestyle=line, marker=marker or "none", fillstyle=fill)
    return entry


def dots(row: float, count: int) -> list[float]:
    """Heights of the dots of a row, below its name and so that they do not hide each other."""
    return [row + MIDDLE + (0.0 if count == 1 else 0.14 * (k % 5 - 2) / 2) for k in range(count)]


def _name_row(axis, row: float, name: str) -> None:
    """The name of a row of dots, above them and inside the axes: on a phone width is scarce."""
    axis.annotate(
        wrapped(name),
        (0, row - 0.1),
        xycoords=("axes fraction", "data"),
        fontsize=9,
        va="bottom",
        # On white, so that it stays readable where it crosses a line of the grid.
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
    )


def rows_of(count: int) -> int:
    """Lines that a legend of `count` entries takes."""
    return min(count, MOST_IN_LEGEND + 1)


def logarithmic(*sides) -> None:
    """Make the axes logarithmic, with 1, 2 and 5 of each decade as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for side in sides:
        side.axes.set(**{f"{side.axis_name}scale": "log"})
        side.set_major_locator(LogLocator(subs=(1, 2, 5)))
        side.set_major_formatter(lambda value, _: f"{value:g}")
        side.set_minor_formatter(NullFormatter())
