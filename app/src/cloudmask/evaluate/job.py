"""One evaluation: what to evaluate, where the results go, and the record that it leaves."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from cloudmask.config.settings import Config, load_config
from cloudmask.errors import InputError
from cloudmask.evaluate import example
from cloudmask.evaluate.baselines import NaiveBayes, ThresholdTest
from cloudmask.evaluate.evaluation import Classifier, EvaluationOptions, EvaluationOutput, evaluate
from cloudmask.evaluate.inference import Predictor
from cloudmask.hardware.devices import POLICIES, choose_precision, open_devices
from cloudmask.model import load
from cloudmask.patches.batches import Batches
from cloudmask.patches.store import PatchStore
from cloudmask.record import provenance, result
from cloudmask.record.run_directory import RunDirectory
from cloudmask.record.stopwatch import Stopwatch
from cloudmask.record.telemetry import Telemetry
from cloudmask.scenes.finding import find_scenes
from cloudmask.system import files

# Naive Bayes needs no more to fill its histograms: 2000 patches are 131 million pixels.
BASELINE_PATCHES = 2000
BASELINE_BATCH = 32


@dataclass
class EvaluationRequest:
    """What `cloudmask-eval` was asked for; None where the run or the default decides.

    scenes: files, product folders, or folders to search. memory_limit: bytes, 0 for none.
    example: the small network that comes with the package, instead of a run or a model.
    """

    run: Path | None
    model: Path | None
    scenes: list[Path]
    out: Path | None
    tiling: str | None
    baselines: bool
    data: Path | None
    threshold: float | None
    truth: str
    nan: str
    precision: str
    memory_limit: float
    skip_bad: bool
    force: bool
    masks: bool
    pictures: bool
    example: bool = False

    @property
    def network(self) -> str:
        """What is evaluated, in words."""
        return "example" if self.example else str(self.model or self.run)


def newest_run(runs: Path) -> Path:
    """The run under `runs` that finished last; raises InputError if there is none."""
    # Named levels, since "**" would not follow a link to a run on another file system.
    results = [*runs.glob(f"*/{result.NAME}"), *runs.glob(f"*/*/{result.NAME}")]
    finished = [path for path in results if (path.parent / "model.keras").exists()]
    if not finished:
        raise InputError(
            f"no --run or --model given, and no finished run under {runs.absolute()}; "
            "expected a run directory of cloudmask-train or a saved network"
        )
    return max(finished, key=lambda path: (path.parent / "model.keras").stat().st_mtime).parent


def run_evaluation(request: EvaluationRequest, command: list[str]) -> tuple[Path, dict]:
    """Evaluate and return the output folder and the section "inference" of its result.

    Masks and pictures are written as they are made, `result.json` last. Raises InputError if the
    run is not finished or the output folder holds an evaluation already.
    """
    config = _run_config(request)
    earlier = (
        result.read_result(request.run) if request.run else {"experiment": config.model_dump()}
    )
    threshold = config.evaluation.threshold if request.threshold is None else request.threshold
    if not 0 < threshold < 1:
        raise InputError(f"--threshold {threshold:g}: expected a probability between 0 and 1")
    if not 0 <= request.memory_limit < math.inf:
        raise InputError(
            f"--memory-limit: expected gigabytes, found {request.memory_limit / 1e9:g}"
        )
    options = EvaluationOptions(threshold, request.truth, request.nan, request.skip_bad)
    tiling = request.tiling or config.evaluation.tiling
    scenes = find_scenes(request.scenes, part="inference")
    baselines = _baselines(request, config) if request.baselines else {}
    devices = open_devices()
    precision = choose_precision(request.precision)
    network = _network(request)
    predict = Predictor(network, POLICIES[precision], tiling, int(request.memory_limit))
    out = _output_folder(request)
    watch = Stopwatch(config.name)
    with Telemetry(out / "telemetry.csv") as telemetry, watch.timer("inference"):
        inference = evaluate(
            predict,
            scenes,
            options,
            EvaluationOutput(out, request.masks, request.pictures),
            baselines,
        )
    inference = {"tiling": tiling, "computed_in": precision, **inference}
    facts = provenance.collect(command, {"model": request.network})
    system = provenance.system(facts) | {"gpu": devices.gpu or None, "precision": precision}
    provenance.write(RunDirectory(out).provenance, facts)
    files.write_text(out / "summary.txt", watch.summary(system))
    outcome = {
        "status": "success",
        "experiment": earlier["experiment"],
        "training": earlier.get("training"),
        "inference": inference,
        "system": system,
        "energy": telemetry.summary(),
    }
    result.write_result(out, {k: v for k, v in outcome.items() if v is not None})
    return out, inference


def _network(request: EvaluationRequest):
    if request.example:
        return example.network()
    return load(request.run / "model.keras" if request.run else request.model)


def _run_config(request: EvaluationRequest) -> Config:
    if request.example:
        return load_config(None, ("name=example", f"model.filters={example.FILTERS}"))
    if not request.run:
        return load_config(None)
    if not result.finished(request.run):
        raise InputError(f"{request.run}: not a finished run; expected a folder with {result.NAME}")
    return load_config(request.run / "config.yaml")


def _output_folder(request: EvaluationRequest) -> Path:
    """The folder asked for, or the first free `evaluation`, `evaluation-2`, … of the run."""
    if request.out:
        if result.finished(request.out):
            if not request.force:
                raise InputError(
                    f"{request.out}: holds an evaluation already; expected a new folder "
                    "(--force moves it aside)"
                )
            print(f"{request.out}: moved to {files.move_aside(request.out)}")
        request.out.mkdir(parents=True, exist_ok=True)
        return request.out
    base = (request.run or Path.cwd()) / "evaluation"
    number, out = 1, base
    while True:
        try:
            out.mkdir()
            return out
        except FileExistsError:
            number += 1
            out = base.with_name(f"evaluation-{number}")


def _baselines(request: EvaluationRequest, config: Config) -> dict[str, Classifier]:
    """Both reference classifiers; naive Bayes is fitted on the run's training patches."""
    data = request.data or _data_of(request)
    if not data:
        raise InputError("--baselines: naive Bayes needs training patches; expected --data FILE.h5")
    store = PatchStore(data)
    split = store.split(config.data.split, config.data.split_seed, config.data.split_by)
    rows = split.training[:: -(-len(split.training) // BASELINE_PATCHES)]
    bayes = NaiveBayes.fit(Batches(store, rows, BASELINE_BATCH).epoch(0))
    return {"threshold test": ThresholdTest().predict, "naive Bayes": bayes.predict_probability}


def _data_of(request: EvaluationRequest) -> Path | None:
    """The patch store that the run was trained on, by its provenance."""
    path = RunDirectory(request.run).provenance if request.run else None
    if not path or not path.exists():
        return None
    try:
        return Path(json.loads(path.read_text(encoding="utf-8"))["data"]["path"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path}: damaged; expected the path of the patches in it") from None
