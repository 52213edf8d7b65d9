"""One run, from an empty run directory to `result.json`."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cloudmask import __version__
from cloudmask.config.settings import Config
from cloudmask.errors import Fault, InputError, Interrupted
from cloudmask.evaluate.evaluation import EvaluationOptions, evaluate
from cloudmask.evaluate.inference import Predictor
from cloudmask.hardware.devices import POLICIES, Devices, choose_precision, open_devices, rank
from cloudmask.patches import store
from cloudmask.patches.batches import Batches
from cloudmask.record import provenance, result, staging_times
from cloudmask.record.events import EventLog, SubmissionFacts, TrainingFacts
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.stopwatch import Stopwatch
from cloudmask.record.telemetry import Telemetry
from cloudmask.system import files
from cloudmask.system.files import replacing
from cloudmask.system.lock import exclusive
from cloudmask.system.signals import StopRequest, stop_requests
from cloudmask.train.checkpoint import Checkpoints
from cloudmask.train.loop import Trainer
from cloudmask.train.step import TrainStep


def train(
    config: Config,
    data: Path,
    run: Path,
    scenes: Sequence[Path],
    command: list[str],
    force: bool = False,
) -> dict:
    """Train on the patch store `data`, evaluate on `scenes` if any, and return the result.

    `run` is created, or continued if it was cut off; with `force` a finished one is moved aside.
    Raises InputError if it is finished, belongs to another configuration or is in use; Interrupted
    if a signal or the death of another worker ended it; Fault if the work cannot go on.
    """
    # Before TensorFlow is loaded, which takes a while in which the batch system may end us.
    with stop_requests() as stop:
        return _train_alone(config, data, run, scenes, command, force, stop)


def _train_alone(
    config: Config,
    data: Path,
    run: Path,
    scenes: Sequence[Path],
    command: list[str],
    force: bool,
    stop: StopRequest,
) -> dict:
    """Hold the run directory while training in it; of several workers the chief does."""
    patches = store.PatchStore(data)
    split = patches.split(config.data.split, config.data.split_seed, config.data.split_by)
    worker, _ = rank()
    if worker:
        return _train(config, data, run, scenes, command, patches, split, stop)
    if force and result.finished(run):
        print(f"{run}: finished; moved to {files.move_aside(run)}")
    _check_run(config, run)
    run.mkdir(parents=True, exist_ok=True)
    with exclusive(run / ".lock", str(run)):
        _check_run(config, run)
        files.remove_temporary(run, run / "checkpoints")
        if not (run / "config.yaml").exists():
            files.write_text(run / "config.yaml", config.to_yaml())
        return _train(config, data, run, scenes, command, patches, split, stop)


def _train(
    config: Config,
    data: Path,
    run: Path,
    scenes: Sequence[Path],
    command: list[str],
    patches: store.PatchStore,
    split: store.Split,
    stop: StopRequest,
) -> dict:
    begun = time.time()
    devices = open_devices(config.training.threads, config.training.deterministic)
    _check_batch(config, devices)
    watch = Stopwatch(config.name)
    log = EventLog(run / "mlperf.log", rank=devices.worker)
    telemetry = Telemetry(run / "telemetry.csv") if devices.chief else contextlib.nullcontext()
    with log, telemetry, watch.timer("total"):
        log.cache_clear(False)
        log.init_start()
        with watch.timer("init"):
            facts = provenance.collect(
                command, {"path": str(data.resolve()), "checksum": patches.checksum}
            )
            earlier = Checkpoints(run / "checkpoints").precision()
            precision = choose_precision(config.training.precision, earlier)
            steps, training, validation = _build(config, patches, split, devices, precision)
            system = provenance.system(facts) | _system(devices, precision)
            _log_settings(log, config, facts, system, training, validation, precision)
            if devices.chief:
                provenance.write(RunDirectory(run).provenance, facts)
            trainer = Trainer(
                config, steps, training, validation, run, log, devices, lambda: stop.requested
            )
            messages = trainer.resume(patches.checksum, precision)
            with watch.timer("tracing"), _explained(config, run, devices):
                steps.warm_up(training.shape, patches.patches.dtype)
        log.init_stop()
        if devices.chief:
            _tell(config, patches, split, devices, precision, messages)
        begin, end = staging_times.read()
        log.staging_start(begin)
        log.staging_stop(end)
        log.run_start()
        with watch.timer("training"), _explained(config, run, devices):
            trainer.fit()
        outcome = _outcome(config, trainer, watch, system, precision)
        if not devices.chief:
            return outcome
        outcome["training"]["staging_seconds"] = staging_times.total_seconds(run / "mlperf.log")
        with replacing(run / "model.keras") as path:
            steps.published().save(path)
        if scenes:
            with watch.timer("inference"):
                outcome["inference"] = _evaluate(config, run, steps, precision, scenes, stop)
        log.run_stop("success")
        log.result(_scientific_result(outcome, trainer))
    outcome["energy"] = telemetry.summary()
    watch.add("wall", time.time() - begun)
    measured = {f"telemetry_{k}": v for k, v in outcome["energy"].items() if k != "sources"}
    files.write_text(run / "summary.txt", watch.summary(system | measured))
    result.write_result(run, {k: v for k, v in outcome.items() if v is not None})
    return outcome


def _check_run(config: Config, run: Path) -> None:
    if run.exists() and not run.is_dir():
        raise InputError(f"{run}: is a file; expected a run directory")
    if result.finished(run):
        raise InputError(
            f"{run}: this run is finished; expected a new or unfinished run directory "
            "(--force moves it aside)"
        )
    earlier = run / "config.yaml"
    if earlier.exists() and earlier.read_text(encoding="utf-8") != config.to_yaml():
        raise InputError(
            f"{run}: was begun with another configuration ({earlier}); "
            "expected the same one, or a new run directory"
        )
    visible = (path for path in run.glob("*") if not path.name.startswith("."))
    if not earlier.exists() and any(visible):
        raise InputError(f"{run}: holds files but no run; expected an empty or new directory")


def _check_batch(config: Config, devices: Devices) -> None:
    batch = config.training.batch_size
    if batch % devices.replicas:
        raise InputError(
            f"training.batch_size: {batch} does not divide among {devices.replicas} devices; "
            f"expected a multiple of {devices.replicas}"
        )


@contextlib.contextmanager
def _explained(config: Config, run: Path, devices: Devices) -> Iterator[None]:
    """Say in one line what TensorFlow's errors mean for the user."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError:
        batch = config.training.batch_size
        smaller = max(batch // 2 // devices.replicas, 1) * devices.replicas
        raise Fault(
            f"{run}: out of memory with training.batch_size {batch}; try {smaller}. The last "
            "checkpoint is intact"
        ) from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.InternalError) as error:
        if devices.workers == 1:
            raise
        reason = str(error).strip().split("\n")[0]
        raise Interrupted(
            f"{run}: another worker died ({reason}); the same command continues from the last "
            "checkpoint"
        ) from None


def _build(
    config: Config, patches: store.PatchStore, split: store.Split, devices: Devices, precision: str
) -> tuple[TrainStep, Batches, Batches]:
    import keras

    size = config.training.batch_size
    place = {"worker": devices.worker, "workers": devices.workers}
    training = Batches(patches, split.training, size, config.seed, **place)
    validation = Batches(patches, split.validation, size, **place)
    keras.utils.set_random_seed(config.seed)
    steps = TrainStep(
        devices, config.model.filters, config.training, precision, config.seed, training.steps
    )
    return steps, training, validation


def _system(devices: Devices, precision: str) -> dict:
    return {
        "gpu": devices.gpu or None,
        "gpus": devices.replicas if devices.gpu else 0,
        "nodes": devices.workers,
        "replicas": devices.replicas,
        "precision": precision,
    }


def _log_settings(
    log: EventLog,
    config: Config,
    facts: dict,
    system: dict,
    training: Batches,
    validation: Batches,
    precision: str,
) -> None:
    who = config.submission
    log.submission(
        SubmissionFacts(
            org=who.organization,
            division=who.division,
            version=__version__,
            github_commit_version=facts["git"]["commit"],
            status=who.status,
            platform=who.platform or system["gpu"] or system["cpu"] or "unknown",
            poc_name=who.name,
            poc_email=who.email,
            user=who.user or facts["user"],
        )
    )
    log.settings(
        TrainingFacts(
            train_samples=training.samples,
            eval_samples=validation.samples,
            global_batch_size=config.training.batch_size,
            seed=config.seed,
            optimizer={
                "name": "adam",
                "base_learning_rate": config.training.learning_rate,
                "adam_beta_2": config.training.beta_2,
                "learning_rate_warmup_epochs": config.training.warmup_epochs,
            },
            number_of_ranks=system["replicas"],
            number_of_nodes=system["nodes"],
            accelerators_per_node=system["gpus"] // system["nodes"],
            others={"precision": precision, "config_sha256": config.sha256()},
        )
    )


def _tell(
    config: Config,
    patches: store.PatchStore,
    split: store.Split,
    devices: Devices,
    precision: str,
    messages: list[str],
) -> None:
    print(
        f"{config.name}: {len(split.training)} patches of {split.training_scenes} scenes train, "
        f"{len(split.validation)} of {split.validation_scenes} validate; "
        f"global batch {config.training.batch_size} on {devices.replicas} x "
        f"{devices.gpu or 'CPU'} of {devices.workers} nodes, "
        f"learning rate {config.training.learning_rate:g}, {precision}",
        flush=True,
    )
    if patches.missing_channels:
        print(f"{patches.missing_channels} scenes lack channels (see cloudmask-prepare)")
    for message in messages:
        print(message, flush=True)


def _outcome(
    config: Config, trainer: Trainer, watch: Stopwatch, system: dict, precision: str
) -> dict:
    """The result so far; `None` where a section is not known yet."""
    experiment = config.model_dump() | {"config_sha256": config.sha256(), "precision": precision}
    return {
        "status": "success",
        "experiment": experiment,
        "training": _training(trainer, watch),
        "inference": None,
        "system": system,
        "energy": None,
    }


def _training(trainer: Trainer, watch: Stopwatch) -> dict:
    """Section "training": figures of the kept weights, and times over the epochs that ran."""
    state, best = trainer.state, trainer.best_epoch
    kept = state.history[best - 1]
    seconds = sum(row["train_seconds"] for row in state.history)
    patches = sum(row["patches_per_second"] * row["train_seconds"] for row in state.history)
    waited = sum(row["data_wait_fraction"] * row["train_seconds"] for row in state.history)
    return {
        "epochs_run": state.epoch,
        "best_epoch": best,
        "stopped_early": trainer.stopped_early,
        "accuracy": kept["accuracy"],
        "loss": kept["loss"],
        "val_accuracy": kept["val_accuracy"],
        "val_loss": kept["val_loss"],
        "seconds": state.seconds,
        "seconds_per_epoch": state.seconds / state.epoch,
        "first_epoch_seconds": state.history[0]["seconds"],
        "tracing_seconds": watch.seconds("tracing"),
        "patches_per_second": patches / seconds,
        "data_wait_fraction": waited / seconds,
        "staging_seconds": 0.0,
        "attempts": state.attempts,
    }


def _evaluate(
    config: Config,
    run: Path,
    steps: TrainStep,
    precision: str,
    scenes: Sequence[Path],
    stop: StopRequest,
) -> dict:
    tiling = config.evaluation.tiling
    predict = Predictor(steps.model, POLICIES[precision], tiling)

    def predict_unless_stopped(image: np.ndarray) -> np.ndarray:
        if stop.requested:
            raise Interrupted(f"{run}: trained, inference not finished; the same command continues")
        return predict(image)

    options = EvaluationOptions(threshold=config.evaluation.threshold)
    inference = evaluate(predict_unless_stopped, scenes, options)
    return {"tiling": tiling, "computed_in": precision, **inference}


def _scientific_result(outcome: dict, trainer: Trainer) -> dict:
    """Value of the log's `result` event, in the shape of the published submissions."""
    columns = ("loss", "accuracy", "val_loss", "val_accuracy")
    history = {name: [row[name] for row in trainer.state.history] for name in columns}
    described = {"name": "cloudmask", "training": {**outcome["training"], "history": history}}
    if outcome["inference"]:
        names = ("scenes", "accuracy", "iou", "precision", "recall", "f1", "seconds_per_scene")
        described["inference"] = {name: outcome["inference"][name] for name in names}
    return described
