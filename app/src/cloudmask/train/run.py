"""One run, from an empty run directory to its result: a list of phases."""

import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask.config.settings import Config
from cloudmask.errors import Interrupted
from cloudmask.evaluate.evaluation import EvaluationOptions, NothingToJudge, evaluate
from cloudmask.evaluate.inference import Predictor
from cloudmask.evaluate.saved_network import NetworkFacts, fact_text, save
from cloudmask.evaluate.scene_check import check_scenes
from cloudmask.hardware import container_image
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices, rank
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore, Split
from cloudmask.patches.verification import verify_sample
from cloudmask.record import caches, job_files, neighbors, provenance, staging_times
from cloudmask.record.events import EventLog
from cloudmask.record.result import Calibration, Energy, Inference, Result, System
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.stopwatch import Stopwatch
from cloudmask.record.telemetry import Telemetry
from cloudmask.scenes.calibration import TARGETS, UNKNOWN
from cloudmask.scenes.slstr import LABEL_SOURCES
from cloudmask.system import files
from cloudmask.system.signals import StopRequest, stop_requests
from cloudmask.system.text import plural
from cloudmask.train.attempt import Attempt, TrainingBatches
from cloudmask.train.calibration import calibrate
from cloudmask.train.checkpoint import Checkpoints
from cloudmask.train.faults import check_batch_size, check_pixels, explained
from cloudmask.train.log_settings import log_settings
from cloudmask.train.loop import Trainer
from cloudmask.train.outcome import (
    logged_result,
    system_section,
    training_result,
    with_data,
    with_others,
)
from cloudmask.train.seeds import with_seed
from cloudmask.train.step import TrainStep

# A stop is requested by a batch system, by its warning before the time limit, or by Ctrl-C.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRequest:
    """What to train on what, and where.

    data: patch store. scenes: whole scenes to evaluate on at the end, if any. command: the command
    line, for the record. force: move a finished run aside first. skip_bad: leave out scenes that
    cannot be judged. left_out: those that were, and why.
    """

    config: Config
    data: Path
    run: RunDirectory
    scenes: Sequence[Path] = ()
    command: Sequence[str] = ()
    force: bool = False
    skip_bad: bool = False
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Patches:
    """The patch store, and which of its rows train and validate."""

    store: PatchStore
    split: Split


@dataclass(frozen=True)
class _Training:
    """What the start-up has made."""

    step: TrainStep
    trainer: Trainer
    system: System
    validation: BatchLoader


def train(request: TrainingRequest) -> Result:
    """Train on the patch store, evaluate on the scenes if any, and return the result.

    The run directory is created, or continued if its run was interrupted. Raises InputError if the
    run is finished, belongs to another configuration or is in use, or if one part of the patches
    has no valid pixel; SceneError if a scene cannot be judged, unless they are skipped, in both
    cases before the training; Interrupted if a signal or the death of another worker ended it;
    Fault if the work cannot go on.
    """
    # Loading TensorFlow takes a while, in which the batch system may already request a stop.
    message = f"{request.run}: nothing is lost; the same command continues"
    with stop_requests(*STOP_SIGNALS, message=message) as stop:
        worker, workers = rank()
        run = request.run
        config = with_seed(request.config, run, workers)
        request, data = replace(request, config=config), config.data
        staging_times.require_staged()
        store = PatchStore(request.data)
        verify_sample(store)
        patches = _Patches(store, store.split(data.split, data.split_seed, data.split_by))
        check_pixels(store, patches.split)
        if worker:
            # The chief alone holds and prepares the run directory, and judges scenes.
            return _train(request, patches, stop)
        container_image.compute_checksum()
        options = _evaluation_options(request, store)
        continued = run.history.exists() and not run.finished
        scenes = check_scenes(request.scenes, options, headers_only=continued)
        request = replace(request, scenes=scenes.usable, left_out=scenes.left_out)
        if request.force and (aside := run.move_aside()):
            logger.info("%s: finished; moved to %s", run, aside)
        with run.claimed(config.to_yaml()):
            return _train(request, patches, stop)


def _train(request: TrainingRequest, patches: _Patches, stop: StopRequest) -> Result:
    begun = time.monotonic()
    attempt = _begin(request, stop)
    telemetry = Telemetry(attempt.run.telemetry) if attempt.devices.chief else None
    with attempt.log, telemetry or contextlib.nullcontext(), attempt.watch.timer("total"):
        training = _initialize(attempt, request, patches)
        attempt.watch.measured("staging", *staging_times.read())
        with attempt.watch.interval("run") as whole:
            result = _measured(attempt, request, patches.store, training)
            whole.at_stop["status"] = "success"
        if telemetry is None:
            return result
        attempt.log.result(logged_result(result, training.trainer.state.history))
    attempt.watch.add("wall", time.monotonic() - begun)
    result = with_others(attempt, result)
    result = result.model_copy(update={"energy": Energy(**telemetry.summary())})
    _write(attempt, result)
    return result


def _measured(
    attempt: Attempt, request: TrainingRequest, store: PatchStore, training: _Training
) -> Result:
    """What the measured run holds: training and, by the chief, saving and evaluating."""
    _fit(attempt, training.trainer)
    calibration = _calibrate(attempt, training)
    result = training_result(attempt, training.trainer, training.system, calibration)
    result = with_data(result, store)
    if not attempt.devices.chief:
        return result
    save(training.step.published(), attempt.run.model, _facts(attempt.config, store, calibration))
    if not request.scenes:
        return result
    inference = _evaluate(attempt, training.step, request, store, calibration.temperature)
    return result.model_copy(update={"inference": inference})


def _begin(request: TrainingRequest, stop: StopRequest) -> Attempt:
    """Set the devices up and choose the precision."""
    settings = request.config.training
    devices = open_devices(settings.threads, settings.deterministic)
    check_batch_size(settings.batch_size, devices)
    log = EventLog(request.run.log, rank=devices.worker)
    return Attempt(
        config=request.config,
        run=request.run,
        devices=devices,
        precision=choose_precision(settings.precision, Checkpoints(request.run).precision()),
        log=log,
        watch=Stopwatch(request.config.name, log),
        stop=stop,
        others=neighbors.look(),
    )


def _initialize(attempt: Attempt, request: TrainingRequest, patches: _Patches) -> _Training:
    """Build the network, or restore it, and compile its steps."""
    log, chief, store = attempt.log, attempt.devices.chief, patches.store
    store.release_pages()
    cleared = caches.clear(store.path)
    log.cache_clear(cleared.value, **cleared.metadata)
    with attempt.watch.interval("init"):
        source = {
            "path": str(request.data.resolve()),
            "checksum": store.checksum,
            "prepared": store.prepared,
        }
        facts = provenance.collect(request.command, source)
        facts["other_jobs"] = attempt.others.described()
        facts["settings"] = attempt.config.model_dump(mode="json", include={"training", "loss"})
        batches = _batches(attempt, patches)
        step = _step(attempt, batches.training)
        system = system_section(attempt, facts)
        log_settings(attempt, facts, system, batches)
        if chief:
            provenance.write(attempt.run.provenance, facts)
            job_files.keep(attempt.run)
        trainer = Trainer(attempt, step, batches)
        messages = trainer.resume(store.checksum)
        with attempt.watch.timer("tracing"), _explained(attempt):
            step.warm_up(batches.training.shape, store.patches.dtype)
    if chief:
        for line in (*_description(attempt, patches), *messages):
            logger.info(line)
    return _Training(step, trainer, system, batches.validation)


def _batches(attempt: Attempt, patches: _Patches) -> TrainingBatches:
    size, seed = attempt.config.training.batch_size, attempt.config.seed_number
    store, split = patches.store, patches.split
    shard = {"worker": attempt.devices.worker, "workers": attempt.devices.workers}
    return TrainingBatches(
        training=BatchLoader(store, split.training, size, seed, **shard),
        validation=BatchLoader(store, split.validation, size, **shard),
    )


def _step(attempt: Attempt, training: BatchLoader) -> TrainStep:
    import keras

    keras.utils.set_random_seed(attempt.config.seed_number)
    return TrainStep(attempt.devices, attempt.config, attempt.precision, training.steps)


def _description(attempt: Attempt, patches: _Patches) -> list[str]:
    """Lines that describe the run before it begins."""
    config, devices, split = attempt.config, attempt.devices, patches.split
    lines = [
        f"{config.name}: training on {plural(len(split.training), 'patch', 'patches')} of "
        f"{plural(split.training_scenes, 'scene')}, validation on {len(split.validation)} of "
        f"{split.validation_scenes}; "
        f"global batch {config.training.batch_size} on {devices.replicas} x "
        f"{devices.gpu or 'CPU'} of {plural(devices.workers, 'node')}, "
        f"learning rate {config.training.learning_rate:g}, {attempt.precision}"
    ]
    if patches.store.checksums is None:
        lines.append(f"{patches.store.path}: made by an older version, without checksums")
    if missing := patches.store.missing_channels:
        lines.append(f"{plural(missing, 'scene')} without all channels (see cloudmask-prepare)")
    return lines


def _fit(attempt: Attempt, trainer: Trainer) -> None:
    attempt.stop.noticed_by_work = True
    with attempt.watch.timer("training"), _explained(attempt):
        trainer.fit()


def _calibrate(attempt: Attempt, training: _Training) -> Calibration:
    with attempt.watch.timer("calibration"), _explained(attempt):
        return calibrate(attempt, training.step, training.validation)


def _facts(config: Config, store: PatchStore, calibration: Calibration) -> NetworkFacts:
    """What the saved network tells about itself; text of the store is cut to what may stand there.

    A store of an older version may hold anything, and a training must not fail in its last second.
    """

    def known(text: str, choices: Sequence[str], otherwise: str) -> Any:
        return text if text in choices else otherwise

    return NetworkFacts(
        temperature=calibration.temperature,
        threshold_favor_clear=calibration.threshold_favor_clear,
        threshold_favor_cloud=calibration.threshold_favor_cloud,
        labels=known(store.label_source, LABEL_SOURCES, ""),
        calibration=known(store.calibration, TARGETS, UNKNOWN),
        patches=fact_text(store.checksum),
        name=fact_text(config.name),
    )


def _evaluation_options(
    request: TrainingRequest, store: PatchStore, temperature: float = 1.0
) -> EvaluationOptions:
    """Whole scenes are read, labeled and adapted as those of the patch store were."""
    settings = request.config.evaluation
    return EvaluationOptions(
        threshold=settings.threshold,
        labels=store.label_source,
        nan=settings.nan,
        skip_bad=request.skip_bad,
        reading=store.reading,
        calibration=store.calibration,
        temperature=temperature,
        trained_on=store.used_scenes(),
    )


def _evaluate(
    attempt: Attempt,
    step: TrainStep,
    request: TrainingRequest,
    store: PatchStore,
    temperature: float,
) -> Inference | None:
    """Evaluate the trained network on whole scenes, judged by the labels that it learned.

    None, with a warning, if none of them has a label: the training is not lost by that.
    """
    tiling = attempt.config.evaluation.tiling
    predict = Predictor(step.model, POLICIES[attempt.precision], tiling)

    def predict_unless_stopped(image: np.ndarray) -> np.ndarray:
        if attempt.stop.requested:
            raise Interrupted(
                f"{attempt.run}: trained, inference not finished; the same command continues"
            )
        return predict(image)

    with attempt.watch.timer("inference"):
        options = _evaluation_options(request, store, temperature)
        try:
            inference = evaluate(predict_unless_stopped, request.scenes, options)
        except NothingToJudge as error:
            logger.warning("no evaluation: %s", error)
            return None
    computed = {"tiling": tiling, "computed_in": attempt.precision}
    told = {
        "left_out": (*request.left_out, *inference.left_out),
        "trained_labels": store.label_source,
    }
    return inference.model_copy(update=computed | told)


def _write(attempt: Attempt, result: Result) -> None:
    """Write the summary and, last, the result."""
    described = result.system.model_dump(exclude={"other_jobs"}) if result.system else {}
    measured = result.energy.model_dump() if result.energy else {}
    measured.pop("sources", None)
    described |= {f"telemetry_{key}": value for key, value in measured.items()}
    files.write_text(attempt.run.summary, attempt.watch.summary(described))
    result.write(attempt.run.result)


def _explained(attempt: Attempt) -> contextlib.AbstractContextManager[None]:
    return explained(attempt.run, attempt.config.training.batch_size, attempt.devices)
