"""The training loop: epochs, validation, early stopping, checkpoints."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from pydantic import BaseModel, TypeAdapter

from cloudmask.errors import InputError, Interrupted
from cloudmask.patches.batches import BatchLoader
from cloudmask.record.history import Epoch, write_history
from cloudmask.train.attempt import Attempt, TrainingBatches
from cloudmask.train.checkpoint import Checkpoint, Checkpoints
from cloudmask.train.early_stopping import EarlyStopping
from cloudmask.train.finite import require_none, require_pixels
from cloudmask.train.learning_rate import plateau_rate
from cloudmask.train.progress import EpochFigures, EpochProgress, duration
from cloudmask.train.step import (
    BAD_GRADIENTS,
    BAD_INPUTS,
    BAD_OUTPUTS,
    CORRECT,
    FIGURES,
    LOSS,
    STOPS,
    VALID,
    TrainStep,
)

# After how many steps the workers look whether one of them has been requested to stop.
AGREEMENT_STEPS = 2

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """How far a run is; saved in every checkpoint.

    epoch: epochs done; step: training steps done of the next one; sums, train_seconds and wait
    belong to those steps. seconds: spent in epochs by all attempts.
    """

    epoch: int = 0
    step: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * FIGURES)
    train_seconds: float = 0.0
    wait: float = 0.0
    seconds: float = 0.0
    attempts: int = 1
    history: list[Epoch] = field(default_factory=list)

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> "TrainingState":
        """The state of which `saved` has what `asdict` makes; raises ValueError if it has not."""
        if missing := [entry.name for entry in fields(cls) if entry.name not in saved]:
            raise ValueError(f"its state lacks {', '.join(missing)}")
        state = TypeAdapter(cls).validate_python(saved)
        if state.epoch != len(state.history):
            raise ValueError(f"epoch {state.epoch}, but figures of {len(state.history)}")
        # Older versions counted less.
        state.sums = [*state.sums, *[0.0] * FIGURES][:FIGURES]
        return state

    @property
    def means(self) -> tuple[float, float]:
        """Loss and accuracy per valid pixel of the steps done."""
        return _means(self.sums)

    def figures(self) -> EpochFigures:
        """How far the epoch is, for people."""
        return EpochFigures(self.step, *self.means, self.train_seconds, self.wait)

    def end_epoch(self, epoch: Epoch) -> None:
        """Take an epoch as done."""
        self.epoch = epoch.epoch
        self.history.append(epoch)
        self.step, self.sums, self.train_seconds, self.wait = 0, [0.0] * FIGURES, 0.0, 0.0


class _SavedStopping(BaseModel):
    """What early stopping has saved."""

    best: float | None
    best_epoch: int


class _SavedRun(BaseModel):
    """What a checkpoint's state holds beside TrainingState."""

    data: str
    precision: str
    stopping: _SavedStopping


class Trainer:
    """Trains the network of `step`; raises Interrupted, after saving, when requested to stop.

    Of several workers only the chief writes; all stop at the same step, whichever was requested to.
    """

    def __init__(self, attempt: Attempt, step: TrainStep, batches: TrainingBatches):
        self._attempt = attempt
        self._config = attempt.config
        self._step = step
        self._batches = batches
        self._chief = attempt.devices.chief
        self._log = attempt.log
        self._checkpoints = Checkpoints(attempt.run)
        self._early_stopping = EarlyStopping(attempt.config.early_stopping)
        self._best: Sequence[np.ndarray] | None = None
        self._identity: dict[str, str] = {}
        self._saved = time.monotonic()
        # Figures of steps that the device may still compute.
        self._pending: list[Any] = []
        self._recent: deque[Any] = deque()
        self.state = TrainingState()

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the run keeps."""
        if self._config.early_stopping.weights == "best" and self._early_stopping.best_epoch:
            return self._early_stopping.best_epoch
        return self.state.epoch

    @property
    def stopped_early(self) -> bool:
        """Whether patience ended the training before its last epoch."""
        return self.state.epoch < self._config.training.epochs

    def resume(self, data: str) -> list[str]:
        """Continue from the newest intact checkpoint, if there is one; returns lines to report.

        `data` is the checksum of the patches. Raises InputError if the run began with others, or
        in another precision.
        """
        run, precision = self._attempt.run, self._attempt.precision
        self._identity = {"data": data, "precision": precision}
        found = self._checkpoints.load(self._check)
        if found is None:
            return []
        saved = _SavedRun(**found.checkpoint.state)
        if saved.data != data:
            raise InputError(f"{run}: was begun with another patch store; expected the same")
        if (begun := saved.precision) != precision:
            raise InputError(
                f"{run}: was begun in {begun}, this device chooses {precision}; expected the "
                f"same kind of device, or training.precision={begun} from the beginning"
            )
        self._best = found.checkpoint.best
        self._early_stopping.restore(saved.stopping.model_dump())
        self.state = TrainingState.restore(found.checkpoint.state)
        self.state.attempts += 1
        self._step.restore(found.checkpoint.variables)
        progress = f"continues after epoch {self.state.epoch}, step {self.state.step}"
        return [*found.damaged, progress]

    def _check(self, checkpoint: Checkpoint) -> None:
        """Raise ValueError unless the run can continue from it: nothing is taken of it yet."""
        _SavedRun(**checkpoint.state)
        TrainingState.restore(checkpoint.state)
        own = [variable.numpy() for variable in self._step.variables]
        _require_alike(checkpoint.variables, own)
        if checkpoint.best is not None:
            _require_alike(checkpoint.best, self._step.kept())

    def fit(self) -> None:
        """Train to the end; raises Interrupted, after saving, if requested.

        Raises InputError or Fault, with the previous checkpoint kept, as soon as values are seen
        that are not finite.
        """
        state, epochs = self.state, self._config.training.epochs
        watch = self._attempt.watch
        while state.epoch < epochs and not self._early_stopping.stop_after(state.epoch):
            if self._config.training.schedule == "plateau":
                self._step.set_learning_rate(plateau_rate(self._config, state.history))
            began = time.perf_counter()
            number = state.epoch + 1
            with watch.interval("epoch", epoch_num=number):
                training = self._train_epoch(number)
            with watch.interval("eval", epoch_num=number):
                validation, stop = self._validate(number)
            self._recent.clear()
            state.seconds += time.perf_counter() - began
            self._end_epoch(training | validation)
            if stop and state.epoch < epochs:
                self._interrupt()
        if self._chief:
            # A kill between checkpoint and history leaves the latter one epoch short.
            write_history(self._attempt.run.history, state.history)
        best = self._best if self._config.early_stopping.weights == "best" else None
        self._step.set_weights(self._step.kept() if best is None else best)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        state, batches = self.state, self._batches.training
        clock = _EpochClock(state, batches)
        label = f"epoch {epoch}/{self._config.training.epochs}"
        progress = EpochProgress(label, batches, self._chief)
        for batch in batches.epoch(epoch, state.step, self._step.to_device):
            figures = self._step.train(batch, self._attempt.stop.requested)
            self._pending.append(figures)
            state.step += 1
            clock.update()
            if progress.due():
                self._collect()
                progress.show(state.figures())
            stop = self._agreed_to_stop(figures)
            if (stop or self._checkpoint_due()) and state.step < batches.steps:
                self._save_within_epoch(clock.elapsed, stop)
        self._collect()
        clock.update()
        progress.close()
        require_none(self._step.not_finite(batch), epoch)
        require_pixels(state.sums[VALID], "training", epoch)
        loss, accuracy = state.means
        return {
            "loss": loss,
            "accuracy": accuracy,
            "train_seconds": state.train_seconds,
            "patches_per_second": batches.samples / state.train_seconds,
            "data_wait_fraction": state.wait / state.train_seconds,
        }

    def _validate(self, epoch: int) -> tuple[dict[str, float], bool]:
        """Figures of the validation patches, and whether any worker has been requested to stop."""
        sums = [0.0] * FIGURES
        batches = self._batches.validation.epoch(0, deliver=self._step.to_device)
        with self._step.judged():
            stop = self._attempt.stop
            _add([self._step.validate(batch, stop.requested) for batch in batches], sums)
        require_none(_bad(sums), epoch)
        require_pixels(sums[VALID], "validation", epoch)
        loss, accuracy = _means(sums)
        self._log.eval_accuracy(accuracy, epoch)
        return {"val_loss": loss, "val_accuracy": accuracy}, sums[STOPS] > 0

    def _collect(self) -> None:
        """Add the figures of the steps done to the epoch's sums, which waits for the device."""
        _add(self._pending, self.state.sums)
        self._pending.clear()
        require_none(_bad(self.state.sums), self.state.epoch + 1)

    def _agreed_to_stop(self, figures: Any) -> bool:
        """Whether to stop after the step of these figures; all workers decide alike."""
        if self._attempt.devices.workers == 1:
            return self._attempt.stop.requested
        # Read an earlier step's value: the newest would block on the device.
        self._recent.append(figures)
        return len(self._recent) > AGREEMENT_STEPS and self._recent.popleft().numpy()[STOPS] > 0

    def _checkpoint_due(self) -> bool:
        """Whether the minutes between two checkpoints are over."""
        minutes = self._config.checkpoint.minutes
        return bool(minutes) and time.monotonic() - self._saved > 60 * minutes

    def _save_within_epoch(self, elapsed: float, stop: bool) -> None:
        self._collect()
        before = self.state.seconds
        self.state.seconds += elapsed
        if stop:
            self._interrupt()
        self._save()
        # The epoch's end adds its whole time.
        self.state.seconds = before

    def _end_epoch(self, figures: dict[str, float]) -> None:
        state = self.state
        seconds = state.seconds - sum(row.seconds for row in state.history)
        epoch = Epoch(epoch=state.epoch + 1, seconds=seconds, **figures)
        state.end_epoch(epoch)
        if self._early_stopping.update(epoch):
            self._best = self._step.kept()
        self._save()
        if self._chief:
            write_history(self._attempt.run.history, state.history)
            self._report(epoch)

    def _report(self, epoch: Epoch) -> None:
        epochs = self._config.training.epochs
        left = (epochs - epoch.epoch) * self.state.seconds / epoch.epoch
        logger.info(
            f"epoch {epoch.epoch}/{epochs}  "
            f"loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.4f}  "
            f"val_loss {epoch.val_loss:.4f}  val_accuracy {epoch.val_accuracy:.4f}  "
            f"{epoch.patches_per_second:.1f} patches/s  "
            f"waiting for data {epoch.data_wait_fraction:.1%}"
            + (f"  ends within {duration(left)}" if left else "")
        )

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self._chief:
            return
        state = asdict(self.state)
        state |= {"stopping": self._early_stopping.state(), **self._identity}
        variables = [variable.numpy() for variable in self._step.variables]
        self._checkpoints.save(Checkpoint(state, variables, self._best))

    def _interrupt(self) -> None:
        self._save()
        self._log.interrupted(self.state.epoch)
        raise Interrupted(
            f"{self._attempt.run}: saved after epoch {self.state.epoch}, step {self.state.step}; "
            "the same command continues"
        )


class _EpochClock:
    """Keeps in the state how long an epoch's steps took, over all attempts at the epoch."""

    def __init__(self, state: TrainingState, batches: BatchLoader):
        self._state = state
        self._batches = batches
        self._began = time.perf_counter()
        self._waited = batches.wait_seconds
        self._earlier = state.train_seconds, state.wait

    @property
    def elapsed(self) -> float:
        """Seconds of this attempt."""
        return time.perf_counter() - self._began

    def update(self) -> None:
        """Bring the state up to now."""
        seconds, wait = self._earlier
        self._state.train_seconds = seconds + self.elapsed
        self._state.wait = wait + self._batches.wait_seconds - self._waited


def _require_alike(saved: Sequence[np.ndarray], own: Sequence[np.ndarray]) -> None:
    """Raise ValueError unless these arrays have the shapes and types of those."""
    if [(a.shape, a.dtype) for a in saved] != [(a.shape, a.dtype) for a in own]:
        raise ValueError("its arrays are not those of this network")


def _add(pending: Sequence[Any], sums: list[float]) -> None:
    """Add the figures of steps to `sums`."""
    for figures in pending:
        for index, value in enumerate(figures.numpy()):
            sums[index] += float(value)


def _means(sums: Sequence[float]) -> tuple[float, float]:
    """Loss and accuracy per valid pixel."""
    pixels = max(sums[VALID], 1.0)
    return sums[LOSS] / pixels, sums[CORRECT] / pixels


def _bad(sums: Sequence[float]) -> dict[str, int]:
    """How many numbers of the steps were not finite, by what they are."""
    names = {"inputs": BAD_INPUTS, "probabilities": BAD_OUTPUTS, "gradients": BAD_GRADIENTS}
    return {name: int(sums[index]) for name, index in names.items()}
