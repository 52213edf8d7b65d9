"""Progress within an epoch: a bar on a terminal, a line now and then elsewhere."""

import logging
import sys
import time
from dataclasses import dataclass

from cloudmask.patches.batches import BatchLoader
from cloudmask.system.progress import MEDIUM, WIDE, open_bar, terminal_columns

LOG_SECONDS = 20.0  # between two lines of a log file
BAR_SECONDS = 0.5  # between two updates of a bar
# Columns of a terminal from which on a bar has the second, third and fourth figure as well.
FIGURE_COLUMNS = (MEDIUM, WIDE, 130)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpochFigures:
    """How far an epoch is, and what its steps have brought so far.

    seconds: spent on the steps; wait_seconds: of these, waiting for data.
    """

    step: int
    loss: float
    accuracy: float
    seconds: float
    wait_seconds: float


class EpochProgress:
    """Reports how far an epoch is; a worker that is not the chief reports nothing."""

    def __init__(self, label: str, batches: BatchLoader, chief: bool):
        self._batches = batches
        self._label = label
        self._chief = chief
        self._bar = None
        self._interval = LOG_SECONDS
        self._shown = time.perf_counter()
        if chief and sys.stderr.isatty():
            self._interval = BAR_SECONDS
            self._bar = open_bar(batches.steps, label, "step", leave=False)

    def due(self) -> bool:
        """Whether it is time for the next report."""
        return time.perf_counter() - self._shown >= self._interval

    def show(self, figures: EpochFigures) -> None:
        """Report how far the epoch is."""
        self._shown = time.perf_counter()
        patches = figures.step * self._batches.samples / self._batches.steps
        parts = (
            f"loss {figures.loss:.4f}",
            f" accuracy {figures.accuracy:.4f}",
            f" {patches / figures.seconds:.1f} patches/s",
            f", waiting for data {figures.wait_seconds / figures.seconds:.1%}",
        )
        if self._bar is not None:
            # Of the figures as many as the terminal has room for.
            fitting = 1 + sum(terminal_columns() >= width for width in FIGURE_COLUMNS)
            self._bar.update(figures.step - self._bar.n)
            self._bar.set_postfix_str("".join(parts[:fitting]))
        elif self._chief:
            text = "".join(parts)
            logger.info("%s step %d/%d %s", self._label, figures.step, self._batches.steps, text)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Rounded for people: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
