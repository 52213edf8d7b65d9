"""Progress of long work: a bar on a terminal, now and then a plain line elsewhere."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

PLAIN_SECONDS = 20.0  # A log file needs a sign of life, not a line for each scene.


def track(
    items: Iterable[T], total: int, label: str, done: int = 0, unit: str = "scene"
) -> Iterator[T]:
    """Yield `items` and show on stderr how many of `total` are done, `done` of them beforehand."""
    if sys.stderr.isatty():
        # Staging and building an overlay also run where only Python itself is installed.
        with contextlib.suppress(ImportError):
            from tqdm import tqdm

            yield from tqdm(items, total=total, initial=done, desc=label, unit=unit)
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
