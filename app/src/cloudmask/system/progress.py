"""Progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

PLAIN_SECONDS = 20.0  # A log file needs a sign of life, not a line for each scene.
WIDE, MEDIUM = 100, 60  # columns of a terminal from which on a bar shows all, or most
# What a bar shows in a narrower terminal; tqdm would cut off the end, which says how long it takes.
MEDIUM_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{remaining}{postfix}]"
NARROW_BAR = "{desc}: {percentage:3.0f}% [{remaining}{postfix}]"


def open_bar(total: int, label: str, unit: str, done: int = 0, leave: bool = True) -> "tqdm":
    """A bar on stderr that fits into the terminal; raises ImportError without tqdm."""
    from tqdm import tqdm

    columns = terminal_columns()
    return tqdm(
        total=total,
        initial=done,
        desc=label,
        unit=unit,
        leave=leave,
        dynamic_ncols=True,
        bar_format=None if columns >= WIDE else MEDIUM_BAR if columns >= MEDIUM else NARROW_BAR,
    )


def terminal_columns() -> int:
    """The width of the terminal on stderr; many columns if it does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or WIDE
    except (OSError, ValueError):
        return WIDE


def track(
    items: Iterable[T], total: int, label: str, done: int = 0, unit: str = "scene"
) -> Iterator[T]:
    """Yield `items` and show on stderr how many of `total` are done, `done` of them beforehand."""
    if sys.stderr.isatty():
        # Staging and building an overlay also run where only Python itself is installed.
        with contextlib.suppress(ImportError), open_bar(total, label, unit, done) as bar:
            for item in items:
                yield item
                bar.update()
            return
    started = reported = time.monotonic()
    fresh = 0
    for item in items:
        yield item
        fresh += 1
        now = time.monotonic()
        if now - reported >= PLAIN_SECONDS and done + fresh < total:
            reported = now
            left = (now - started) / fresh * (total - done - fresh)
            print(
                f"{label}: {done + fresh}/{total}, {left:.0f} s left", file=sys.stderr, flush=True
            )
    seconds = time.monotonic() - started
    print(f"{label}: {done + fresh}/{total} in {seconds:.1f} s", file=sys.stderr, flush=True)
