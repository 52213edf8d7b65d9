"""One evaluation: what to evaluate, where the results go, and the record that it leaves."""

import contextlib
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.config.settings import Config
from cloudmask.errors import InputError
from cloudmask.evaluate.baselines import NaiveBayes, ThresholdTest
from cloudmask.evaluate.evaluation import Classifier, EvaluationOptions, EvaluationOutput, evaluate
from cloudmask.evaluate.inference import Predictor
from cloudmask.evaluate.saved_network import NetworkFacts, weights_identity
from cloudmask.evaluate.sources import NetworkSource
from cloudmask.hardware.devices import POLICIES, Devices, choose_precision, open_devices
from cloudmask.patches.batches import BatchLoader
from cloudmask.patches.store import PatchStore
from cloudmask.record import provenance, staging_times
from cloudmask.record.result import Energy, Inference, Result, System
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.stopwatch import Stopwatch
from cloudmask.record.telemetry import Telemetry
from cloudmask.scenes.finding import find_scenes
from cloudmask.scenes.raw import ReadOptions
from cloudmask.system import files, output

# Naive Bayes needs no more to fill its histograms: 2000 patches are 131 million pixels.
BASELINE_PATCHES = 2000
BASELINE_BATCH = 32
DEFAULT_LABELS = "bayes"  # of networks that do not tell

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and how; None where the network's configuration or the default decides.

    scenes: files, product folders, or folders to search. labels: label source, by default that of
    the network's patches. calibration: of S1 to S6, "auto" for that of the network's patches.
    memory_limit: bytes, 0 for none.
    baselines: judge the reference classifiers as well, fitted on the patch store `data`.
    force: move an evaluation that is in `out` aside first. command: the command line, for the
    record.
    """

    source: NetworkSource
    scenes: Sequence[Path]
    command: Sequence[str] = ()
    tiling: str | None = None
    threshold: float | None = None
    labels: str | None = None
    nan: str = "ignore"
    reading: ReadOptions = field(default_factory=ReadOptions)
    calibration: str = "auto"
    skip_bad: bool = False
    precision: str = "auto"
    memory_limit: float = 0.0
    baselines: bool = False
    data: Path | None = None
    out: RunDirectory | None = None
    force: bool = False
    masks: bool = True
    pictures: bool = True


@dataclass(frozen=True)
class FinishedEvaluation:
    """Where an evaluation was written, and what it found."""

    folder: RunDirectory
    inference: Inference


def run_evaluation(request: EvaluationRequest) -> FinishedEvaluation:
    """Evaluate; masks and pictures are written as they are made, the result last.

    Raises InputError if the run is not finished, or the output folder holds an evaluation already,
    holds something else or is in use.
    """
    staging_times.require_staged()
    request.source.check()
    with _output_folder(request) as folder:
        return FinishedEvaluation(folder, _evaluate(request, folder))


def _evaluate(request: EvaluationRequest, folder: RunDirectory) -> Inference:
    config, trained = request.source.config(), request.source.result()
    facts, tiling = request.source.facts(), request.tiling or config.evaluation.tiling
    options = _options(request, config, facts)
    scenes = find_scenes(request.scenes, part="inference")
    baselines = _baselines(request, config) if request.baselines else {}
    devices = open_devices()
    precision = choose_precision(request.precision)
    limit = int(request.memory_limit)
    network = request.source.load()
    predict = Predictor(network, POLICIES[precision], tiling, limit)
    to = EvaluationOutput(
        folder,
        request.masks,
        request.pictures,
        labels=facts.labels,
        model=weights_identity(network.get_weights()),
    )
    watch = Stopwatch(config.name)
    with Telemetry(folder.telemetry) as telemetry, watch.timer("inference"):
        inference = evaluate(predict, scenes, options, to, baselines)
    told = {
        "tiling": tiling,
        "computed_in": precision,
        "trained_labels": facts.labels or None,
        "notes": (*_label_notes(request, facts.labels, options.labels), *inference.notes),
    }
    inference = inference.model_copy(update=told)
    system = _record_machine(request, folder, devices, precision)
    files.write_text(folder.summary, watch.summary(system.model_dump()))
    Result(
        status="success",
        experiment=trained.experiment if trained else config.model_dump(),
        training=trained.training if trained else None,
        inference=inference,
        system=system,
        energy=Energy(**telemetry.summary()),
    ).write(folder.result)
    return inference


def _options(request: EvaluationRequest, config: Config, facts: NetworkFacts) -> EvaluationOptions:
    threshold = config.evaluation.threshold if request.threshold is None else request.threshold
    if not 0 < threshold < 1:
        raise InputError(f"--threshold {threshold:g}: expected a probability between 0 and 1")
    limit = request.memory_limit
    if not 0 <= limit < math.inf:
        raise InputError(f"--memory-limit {limit / 1e9:g}: expected gigabytes, 0 for no limit")
    return EvaluationOptions(
        threshold=threshold,
        labels=request.labels or facts.labels or DEFAULT_LABELS,
        nan=request.nan,
        skip_bad=request.skip_bad,
        reading=request.reading,
        temperature=facts.temperature,
        calibration=facts.calibration if request.calibration == "auto" else request.calibration,
    )


def _label_notes(request: EvaluationRequest, learned: str, judged: str) -> tuple[str, ...]:
    """A line if the scores are not by the labels that the network learned, or may not be."""
    if learned and learned != judged:
        return (f"judged by '{judged}' labels, but the network learned '{learned}' (--labels)",)
    if not learned and not request.labels:
        return (
            f"judged by '{judged}' labels: {request.source} does not tell which it learned "
            "(--labels names them)",
        )
    return ()


@contextlib.contextmanager
def _output_folder(request: EvaluationRequest) -> Iterator[RunDirectory]:
    """Hold the folder requested, or one beside the network's earlier evaluations."""
    if not request.out:
        with _next_folder(request.source.base) as folder:
            yield folder
        return
    out = request.out
    if request.force and (aside := out.move_aside()):
        logger.info("%s: moved to %s", out, aside)
    _refuse_finished(out)
    with output.claimed(out.path, "evaluation"):
        # Another process may have finished one before the lock was ours.
        _refuse_finished(out)
        yield out


@contextlib.contextmanager
def _next_folder(base: RunDirectory) -> Iterator[RunDirectory]:
    """Hold the first folder for evaluations that is free, or that a killed process has left."""
    for folder in base.possible_evaluations():
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(output.claimed(folder.path, "evaluation"))
            except InputError:  # Another process writes there, or it holds something else.
                continue
            if not folder.finished:
                yield folder
                return
    raise InputError(f"{base}: too many evaluations; expected --out with a new folder")


def _refuse_finished(out: RunDirectory) -> None:
    if out.finished:
        raise InputError(
            f"{out}: holds an evaluation already; expected a new folder (--force moves it aside)"
        )


def _baselines(request: EvaluationRequest, config: Config) -> dict[str, Classifier]:
    """Both reference classifiers; naive Bayes is fitted on the network's training patches."""
    data = request.data or request.source.patches()
    if not data:
        raise InputError("--baselines: naive Bayes needs training patches; expected --data FILE.h5")
    store = PatchStore(data)
    split = store.split(config.data.split, config.data.split_seed, config.data.split_by)
    rows = split.training[:: -(-len(split.training) // BASELINE_PATCHES)]
    bayes = NaiveBayes.fit(BatchLoader(store, rows, BASELINE_BATCH).epoch(0))
    return {"threshold test": ThresholdTest().predict, "naive Bayes": bayes.predict_probability}


def _record_machine(
    request: EvaluationRequest, folder: RunDirectory, devices: Devices, precision: str
) -> System:
    """Write the provenance; returns the machine as the result describes it."""
    facts = provenance.collect(request.command, {"model": str(request.source)})
    provenance.write(folder.provenance, facts)
    computed_on = {"gpu": devices.gpu or None, "precision": precision}
    return System(**provenance.system(facts) | computed_on)
