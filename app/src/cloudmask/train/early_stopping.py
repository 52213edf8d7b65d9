"""Early stopping whose state can be saved."""

import math
from dataclasses import dataclass
from typing import Any

from cloudmask.config.settings import EarlyStoppingSettings
from cloudmask.record.history import Epoch


@dataclass
class EarlyStopping:
    """Follows the monitored figure and decides when to stop.

    best_epoch: the epoch (counted from 1) with the best figure so far, 0 before the first.
    """

    settings: EarlyStoppingSettings
    best: float | None = None
    best_epoch: int = 0

    def update(self, epoch: Epoch) -> bool:
        """Take an epoch's figures; returns whether they are the best so far."""
        value: float = getattr(epoch, self.settings.monitor)
        # The sign is turned so that smaller is better; a figure that is no number is never better.
        turned = -value if self.settings.monitor.endswith("accuracy") else value
        better = math.isfinite(turned) and (
            self.best is None or turned < self.best - self.settings.min_delta
        )
        if better:
            self.best, self.best_epoch = turned, epoch.epoch
        return better

    def stop_after(self, epoch: int) -> bool:
        """Whether `patience` epochs have passed without improvement."""
        return self.settings.enabled and epoch - self.best_epoch >= self.settings.patience

    def state(self) -> dict[str, Any]:
        """The state that `restore` needs."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]
