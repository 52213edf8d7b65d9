"""The training loop: epochs, validation, early stopping, checkpoints, progress."""

import csv
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from cloudmask.config.settings import Config
from cloudmask.errors import Fault, InputError, Interrupted
from cloudmask.hardware.devices import Devices
from cloudmask.patches.batches import Batches
from cloudmask.record.events import EventLog
from cloudmask.system.files import replacing
from cloudmask.train.checkpoint import Checkpoints
from cloudmask.train.early_stopping import EarlyStopping
from cloudmask.train.step import TrainStep

FIGURES = 4  # that a step returns
# After how many steps the workers look whether one of them was asked to stop.
AGREEMENT_STEPS = 2
PROGRESS_SECONDS = 20.0  # between two lines within an epoch

HISTORY = (
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
    "train_seconds",
    "patches_per_second",
    "data_wait_fraction",
)


@dataclass
class State:
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
    history: list[dict] = field(default_factory=list)


class Trainer:
    """One run's training; `run` is its directory, `cut_off` tells whether to stop and save.

    Of several workers the chief alone writes; all stop at the same step, whoever was asked.
    """

    def __init__(
        self,
        config: Config,
        steps: TrainStep,
        training: Batches,
        validation: Batches,
        run: Path,
        log: EventLog,
        devices: Devices,
        cut_off: Callable[[], bool],
    ):
        self._config = config
        self._steps = steps
        self._training = training
        self._validation = validation
        self._run = run
        self._log = log
        self._chief = devices.chief
        self._alone = devices.workers == 1
        self._cut_off = cut_off
        self._checkpoints = Checkpoints(run / "checkpoints")
        self._early_stopping = EarlyStopping(config.early_stopping)
        self._best: list[np.ndarray] | None = None
        self._identity: dict[str, str] = {}
        self._saved = time.monotonic()
        self._recent: deque = deque()
        self.state = State()

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

    def resume(self, data: str, precision: str) -> list[str]:
        """Continue from the newest intact checkpoint, if there is one; returns lines to tell.

        `data` is the checksum of the patches. Raises InputError if the run began with others, or
        in another precision.
        """
        self._identity = {"data": data, "precision": precision}
        found = self._checkpoints.load()
        if found is None:
            return []
        saved, variables, self._best, messages = found
        if saved.pop("data") != data:
            raise InputError(f"{self._run}: was begun with another patch store; expected the same")
        if (begun := saved.pop("precision")) != precision:
            raise InputError(
                f"{self._run}: was begun in {begun}, this device chooses {precision}; expected the "
                f"same kind of device, or training.precision={begun} from the beginning"
            )
        self._early_stopping.restore(saved.pop("stopping"))
        self.state = State(**saved)
        self.state.attempts += 1
        for variable, value in zip(self._steps.variables, variables, strict=True):
            variable.assign(value)
        return [*messages, f"continues after epoch {self.state.epoch}, step {self.state.step}"]

    def fit(self) -> None:
        """Train to the end; raises Interrupted, after saving, if asked, Fault on a NaN loss."""
        epochs = self._config.training.epochs
        while self.state.epoch < epochs and not self._early_stopping.stop_after(self.state.epoch):
            began = time.perf_counter()
            figures = self._train_epoch(self.state.epoch + 1)
            validation, asked = self._validate(self.state.epoch + 1)
            self.state.seconds += time.perf_counter() - began
            self._end_epoch(figures | validation)
            if asked and self.state.epoch < epochs:
                self._stop_here()
        if self._chief:
            # A kill between checkpoint and history leaves the latter short.
            write_history(self._run / "history.csv", self.state.history)
        best = self._best if self._config.early_stopping.weights == "best" else None
        self._steps.set_weights(self._steps.kept() if best is None else best)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        state, batches = self.state, self._training
        self._log.epoch_start(epoch)
        began = told = time.perf_counter()
        waited = batches.wait_seconds
        earlier = state.train_seconds, state.wait
        pending: list = []
        progress = Progress(self._chief, self._config.training.epochs, epoch, batches)
        for batch in batches.epoch(epoch, state.step, self._steps.to_device):
            pending.append(self._steps.train(batch, self._cut_off()))
            state.step += 1
            now = time.perf_counter()
            state.train_seconds = earlier[0] + now - began
            state.wait = earlier[1] + batches.wait_seconds - waited
            if now - told >= progress.interval:
                told = now
                _collect(pending, state.sums)
                progress.tell(state)
            asked, due = self._asked(pending[-1:]), self._due()
            if (asked or due) and state.step < batches.steps:
                _collect(pending, state.sums)
                before = state.seconds
                state.seconds += now - began
                if asked:
                    self._stop_here()
                self._save()
                # The epoch's end adds its whole time.
                state.seconds = before
        _collect(pending, state.sums)
        state.train_seconds = earlier[0] + time.perf_counter() - began
        progress.close()
        self._log.epoch_stop(epoch)
        loss, accuracy = _means(state.sums)
        return {
            "loss": loss,
            "accuracy": accuracy,
            "train_seconds": state.train_seconds,
            "patches_per_second": batches.samples / state.train_seconds,
            "data_wait_fraction": state.wait / state.train_seconds,
        }

    def _validate(self, epoch: int) -> tuple[dict[str, float], bool]:
        """Figures of the validation patches, and whether any worker was asked to stop."""
        self._log.eval_start(epoch)
        sums = [0.0] * FIGURES
        batches = self._validation.epoch(0, deliver=self._steps.to_device)
        with self._steps.judged():
            _collect([self._steps.validate(batch, self._cut_off()) for batch in batches], sums)
        loss, accuracy = _means(sums)
        self._log.eval_accuracy(accuracy, epoch)
        self._log.eval_stop(epoch)
        self._recent.clear()
        return {"val_loss": loss, "val_accuracy": accuracy}, sums[3] > 0

    def _asked(self, figures: list) -> bool:
        """Whether to stop after this step; all workers answer alike."""
        if self._alone:
            return self._cut_off()
        # Of a step that is done already, so that nothing waits for the device.
        self._recent.extend(figures)
        return len(self._recent) > AGREEMENT_STEPS and self._recent.popleft().numpy()[3] > 0

    def _due(self) -> bool:
        """Whether the minutes between two checkpoints are over."""
        minutes = self._config.checkpoint.minutes
        return bool(minutes) and time.monotonic() - self._saved > 60 * minutes

    def _end_epoch(self, figures: dict[str, float]) -> None:
        state = self.state
        if not np.isfinite(figures["loss"]):
            raise Fault(
                f"the loss of epoch {state.epoch + 1} is {figures['loss']}; try a smaller "
                "training.learning_rate, or training.precision float32. The checkpoint of the "
                "epoch before is kept"
            )
        state.epoch += 1
        seconds = state.seconds - sum(row["seconds"] for row in state.history)
        row = {"epoch": state.epoch, **figures, "seconds": seconds}
        state.history.append({name: row[name] for name in HISTORY})
        state.step, state.sums, state.train_seconds, state.wait = 0, [0.0] * FIGURES, 0.0, 0.0
        if self._early_stopping.update(state.epoch, figures):
            self._best = self._steps.kept()
        self._save()
        if not self._chief:
            return
        write_history(self._run / "history.csv", state.history)
        left = (self._config.training.epochs - state.epoch) * state.seconds / state.epoch
        ends = f"  ends within {duration(left)}" if left else ""
        print(
            f"epoch {state.epoch}/{self._config.training.epochs}  "
            f"loss {figures['loss']:.4f}  accuracy {figures['accuracy']:.4f}  "
            f"val_loss {figures['val_loss']:.4f}  val_accuracy {figures['val_accuracy']:.4f}  "
            f"{figures['patches_per_second']:.1f} patches/s  "
            f"waiting for data {figures['data_wait_fraction']:.1%}{ends}",
            flush=True,
        )

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self._chief:
            return
        state = asdict(self.state) | {"stopping": self._early_stopping.state(), **self._identity}
        variables = [variable.numpy() for variable in self._steps.variables]
        self._checkpoints.save(state, variables, self._best)

    def _stop_here(self) -> None:
        self._save()
        self._log.interrupted(self.state.epoch)
        raise Interrupted(
            f"{self._run}: saved after epoch {self.state.epoch}, step {self.state.step}; "
            "the same command continues"
        )


class Progress:
    """Progress within an epoch: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, show: bool, epochs: int, epoch: int, batches: Batches):
        self._batches = batches
        self._label = f"epoch {epoch}/{epochs}"
        self._show = show
        self._bar = None
        self.interval = PROGRESS_SECONDS
        if show and sys.stderr.isatty():
            from tqdm import tqdm

            self.interval = 0.5
            self._bar = tqdm(total=batches.steps, desc=self._label, unit="step", leave=False)

    def tell(self, state: State) -> None:
        """Show how far the epoch is."""
        loss, accuracy = _means(state.sums)
        rate = state.step * self._batches.samples / self._batches.steps / state.train_seconds
        figures = (
            f"loss {loss:.4f} accuracy {accuracy:.4f} {rate:.1f} patches/s, "
            f"waiting for data {state.wait / state.train_seconds:.1%}"
        )
        if self._bar is not None:
            self._bar.update(state.step - self._bar.n)
            self._bar.set_postfix_str(figures)
        elif self._show:
            print(f"{self._label} step {state.step}/{self._batches.steps} {figures}", flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


def _collect(pending: list, sums: list[float]) -> None:
    """Add the figures of finished steps to `sums`: the only place that waits for the device."""
    for figures in pending:
        for index, value in enumerate(figures.numpy()):
            sums[index] += float(value)
    pending.clear()


def _means(sums: list[float]) -> tuple[float, float]:
    """Loss and accuracy per valid pixel."""
    pixels = max(sums[2], 1.0)
    return sums[0] / pixels, sums[1] / pixels


def write_history(path: Path, history: list[dict]) -> None:
    """Write one row per epoch, atomically."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HISTORY)
        writer.writeheader()
        writer.writerows(history)


def duration(seconds: float) -> str:
    """Rounded for people: 45 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
