"""What comes out of a training: the sections of `result.json`, and the log's result."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from cloudmask.patches.store import PatchStore
from cloudmask.record import neighbors, provenance, staging_times
from cloudmask.record.described_data import describe
from cloudmask.record.history import Epoch
from cloudmask.record.result import Calibration, MeanScores, OtherJobs, Result, System, Training
from cloudmask.train.attempt import Attempt
from cloudmask.train.loop import Trainer

# What the log's result says of the inference: all scores, over which pixels and by which labels.
LOGGED_INFERENCE = {
    "scenes",
    *MeanScores.model_fields,
    "unlabeled_scenes",
    "truth",
    "trained_labels",
    "threshold",
    "nan",
    "data",
    "seconds_per_scene",
    "seconds_per_scene_all",
}

logger = logging.getLogger(__name__)


def system_section(attempt: Attempt, facts: Mapping[str, Any]) -> System:
    """The machine, by the provenance `facts` and what the run computes on."""
    devices = attempt.devices
    computed_on = {
        "gpu": devices.gpu or None,
        "gpus": devices.gpus,
        "nodes": devices.workers,
        "replicas": devices.replicas,
        "precision": attempt.precision,
    }
    return System(**provenance.system(facts) | computed_on)


def training_result(
    attempt: Attempt, trainer: Trainer, system: System, calibration: Calibration
) -> Result:
    """The result of a run whose training has ended, as yet without inference and energy."""
    config = attempt.config
    identity = {"config_sha256": config.sha256(), "precision": attempt.precision}
    return Result(
        status="success",
        experiment=config.model_dump() | identity,
        training=_training(attempt, trainer, calibration),
        system=system,
    )


def with_data(result: Result, store: PatchStore) -> Result:
    """The result with the scenes that it was trained on."""
    data = describe(store.used_scenes(), store.origins)
    training = result.training and result.training.model_copy(update={"data": data})
    return result.model_copy(update={"training": training})


def with_others(attempt: Attempt, result: Result) -> Result:
    """The result with who shared the node, at the attempt's begin or at its end."""
    others = attempt.others.merged(neighbors.look())
    if others.seen:
        logger.warning("others worked on this node: the times are not those of a node alone")
    described = {"other_jobs": OtherJobs(**others.described())}
    system = (result.system or System()).model_copy(update=described)
    return result.model_copy(update={"system": system})


def _training(attempt: Attempt, trainer: Trainer, calibration: Calibration) -> Training:
    """Figures of the kept weights, and times over the epochs that ran."""
    state = trainer.state
    kept = state.history[trainer.best_epoch - 1]
    seconds = sum(epoch.train_seconds or 0.0 for epoch in state.history)
    patches = sum(epoch.patches or 0 for epoch in state.history)
    waited = sum(
        (epoch.data_wait_fraction or 0.0) * (epoch.train_seconds or 0.0) for epoch in state.history
    )
    chief = attempt.devices.chief  # The others have no log.
    return Training(
        epochs_run=state.epoch,
        best_epoch=trainer.best_epoch,
        stopped_early=trainer.stopped_early,
        accuracy=kept.accuracy,
        loss=kept.loss,
        val_accuracy=kept.val_accuracy,
        val_loss=kept.val_loss,
        seconds=state.seconds,
        seconds_per_epoch=state.seconds / state.epoch,
        first_epoch_seconds=state.history[0].seconds,
        tracing_seconds=attempt.watch.seconds("tracing"),
        patches_per_second=patches / seconds,
        data_wait_fraction=waited / seconds,
        staging_seconds=staging_times.total_seconds(attempt.run.log) if chief else 0.0,
        attempts=state.attempts,
        calibration=calibration,
    )


def logged_result(result: Result, history: Sequence[Epoch]) -> dict[str, Any]:
    """Value of the log's `result` event, in the shape of the published submissions."""
    described: dict[str, Any] = {"name": "cloudmask"}
    if result.training:
        columns = ("loss", "accuracy", "val_loss", "val_accuracy")
        figures = {name: [getattr(epoch, name) for epoch in history] for name in columns}
        described["training"] = {**result.training.model_dump(), "history": figures}
    if result.inference:
        described["inference"] = result.inference.model_dump(include=LOGGED_INFERENCE)
    return described
