"""Logs of others: the files that the benchmark's published code and MLPerf submissions leave.

Three kinds, distinguished by their content: MLPerf events (`mlperf_*.log`, `result-n.txt`), the two
summary lines of `cloudMask_Log_*.log`, and cloudmesh's stop-watch table. Files of one run are found
by their names: what follows the prefix (`a100_10`), or the folder where nothing follows.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record import events as mlperf_events
from cloudmask.record import rules
from cloudmask.report.runs import (
    CURVES,
    RecordedEvaluation,
    RecordedRun,
    device_name,
    number,
    text,
    whole,
)
from cloudmask.report.stopwatches import TOKEN as STOPWATCH_TOKEN
from cloudmask.report.stopwatches import read_stopwatch
from cloudmask.system import reading

SUFFIXES = (".log", ".txt")
PREFIX = re.compile(
    r"^(mlperf_cloudmask|cloudmask_log|slstr_stopwatch_benchmark|mlperf|result)[-_]?", re.IGNORECASE
)
SUMMARY = "CloudMask training,"
SNIFFED = 64 * 1024  # bytes read to find what a file is; the published ones are below 8 KB
# Which machine a published run was on stands only in the path of the script that logged.
SITE_FOLDER = re.compile(r"(?:target|experiments)/([a-z]+)/", re.IGNORECASE)
SITES = {"rivanna": "UVA Rivanna", "greene": "NYU Greene"}


def kind(path: Path) -> str | None:
    """What the file holds: "events", "summary" or "stopwatch"; None if nothing of these."""
    try:
        with reading.opened(path) as handle:
            text = handle.read(SNIFFED).decode("utf-8", errors="replace")
    except (OSError, InputError):
        return None
    tokens = {"events": mlperf_events.TOKEN, "summary": SUMMARY, "stopwatch": STOPWATCH_TOKEN}
    return next((name for name, token in tokens.items() if token in text), None)


def together(paths: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Logs by run: the run's name to its files by kind."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in paths:
        rest = PREFIX.sub("", path.stem)
        # Submissions number the logs of one folder: result-1.txt, result-2.txt.
        name = f"{path.parent.name}-{rest}" if rest.isdigit() else rest or path.parent.name
        if what := kind(path):
            found[str(path.parent / name)][what] = path
    return dict(found)


def read_logs(name: str, files: Mapping[str, Path]) -> list[RecordedRun]:
    """The runs in the files of one name: one, or more where a log was appended to.

    Raises InputError that names the file if one is damaged.
    """
    sessions: list[list[dict]] = []
    if "events" in files:
        sessions = _sessions(mlperf_events.read_events(files["events"]))
    runs = []
    for count, events in enumerate(sessions or [[]], 1):
        label = name if len(sessions) <= 1 else f"{name} #{count}"
        run = RecordedRun(label, "log", "log", str(next(iter(files.values())).parent))
        _from_name(run, Path(name).name)
        if events:
            _from_events(run, events)
        runs.append(run)
    # Beside a log of several sessions the other files are of the last.
    _from_summary(runs[-1], files.get("summary"))
    _from_stopwatch(runs[-1], files.get("stopwatch"))
    return runs


def _sessions(events: list[dict]) -> list[list[dict]]:
    sessions: list[list[dict]] = []
    for event in events:
        if not sessions or event["key"] == "submission_benchmark":
            sessions.append([])
        sessions[-1].append(event)
    return sessions


def _from_name(run: RecordedRun, name: str) -> None:
    """Card and epochs, from `a100_10` or cloudmesh's `card_name_a100_epoch_10_repeat_1`."""
    card = re.search(r"card_name_([a-z0-9]+)", name) or re.match(r"([a-z]+\d+)_\d+$", name)
    if card:
        run.device = card[1].upper()
    epochs = re.search(r"epochs?_(\d+)", name) or re.match(r"[a-z]+\d+_(\d+)$", name)
    if epochs:
        run.epochs_set = run.epochs_run = int(epochs[1])


def _from_events(run: RecordedRun, events: list[dict]) -> None:
    first: dict = {}
    for event in events:
        first.setdefault(event["key"], event["value"])
    run.log_problems = rules.lacking(events)
    run.source = _site(events) or text(first, "submission_org") or "log"
    platform = text(first, "submission_platform")
    run.machine = platform
    if run.device is None:
        run.device = device_name(platform)
    elif platform and run.device.lower() not in platform.lower():
        run.notes.append(f"the log's platform is '{platform}', but its name has another GPU")
    run.workers, run.nodes = whole(first, "number_of_ranks"), whole(first, "number_of_nodes")
    run.seed, run.precision = whole(first, "seed"), text(first, "precision")
    if batch := whole(first, "global_batch_size"):
        run.settings["training.batch_size"] = batch
    run.code = text(first, "submission_github_commit_version")
    _intervals(run, events)
    if isinstance(first.get("result"), Mapping):
        _from_result(run, first["result"])


def _site(events: list[dict]) -> str | None:
    for event in events:
        metadata = event["metadata"]
        file = metadata.get("file") if isinstance(metadata, Mapping) else None
        if found := SITE_FOLDER.search(str(file)):
            return SITES.get(found[1].lower(), found[1])
    return None


def _intervals(run: RecordedRun, events: list[dict]) -> None:
    """Times between events: of epochs where they are logged, else of the published `eval_*`."""
    started: dict[tuple, float] = {}
    epochs: dict[int, float] = defaultdict(float)
    for event in events:
        if not isinstance(event["time_ms"], (int, float)):
            continue
        stem, _, edge = event["key"].rpartition("_")
        metadata = event["metadata"] if isinstance(event["metadata"], Mapping) else {}
        epoch, at = metadata.get("epoch_num"), event["time_ms"] / 1000
        if edge == "start":
            started[stem, epoch] = at
        if edge != "stop" or (stem, epoch) not in started:
            continue
        seconds = at - started.pop((stem, epoch))
        if stem in ("epoch", "eval") and isinstance(epoch, int):
            epochs[epoch] += seconds
        elif stem == "eval" and "training" in str(event["value"]).lower():
            run.times["training"] = seconds
        elif stem == "eval" and "inference" in str(event["value"]).lower():
            run.times["inference"] = seconds
        elif stem == "init":
            run.times["start_up"] = seconds
        elif stem == "staging":
            run.times["staging"] = seconds
    if epochs:
        ordered = [epochs[number] for number in sorted(epochs)]
        run.history["seconds"] = ordered
        run.times["first_epoch"], run.times["later_epochs"] = ordered[0], sum(ordered[1:])
        run.epochs_run = len(ordered)
        run.seconds_per_epoch = sum(ordered) / len(ordered)


def _from_result(run: RecordedRun, value: Mapping) -> None:
    """The `result` event: `training.history`, `inference.accuracy` and what stands beside them."""
    training, inference = value.get("training"), value.get("inference")
    if isinstance(training, Mapping):
        history = training.get("history")
        if isinstance(history, Mapping):
            curves = {k: v for k in CURVES if (v := _numbers(history.get(k)))}
            run.history |= curves
            run.epochs_run = max(map(len, curves.values()), default=run.epochs_run)
        run.accuracy, run.val_accuracy = (
            number(training, "accuracy"),
            number(training, "val_accuracy"),
        )
        run.val_loss = number(training, "val_loss")
        run.best_epoch = whole(training, "best_epoch")
        run.stopped_early = training.get("stopped_early") is True
        run.patches_per_second = number(training, "patches_per_second")
    if isinstance(inference, Mapping):
        analysis = value.get("inference_analyze")
        analysis = analysis if isinstance(analysis, Mapping) else {}
        evaluation = _logged_evaluation(inference, number(analysis, "time_per_inference"))
        evaluation.seconds = run.times.get("inference")
        run.evaluations.append(evaluation)


def _logged_evaluation(inference: Mapping, published_time: float | None) -> RecordedEvaluation:
    """What the log says of the inference; `published_time`: of a scene, in the logs of others.

    Only this program tells measured pixels and the network's own time apart; it logs one mean
    accuracy, others a list with an accuracy for each scene.
    """
    scenes = _numbers(inference.get("accuracy"))
    own_time = number(inference, "seconds_per_scene")
    mean = number(inference, "avg_accuracy") if scenes else number(inference, "accuracy")
    if mean is None and scenes:
        mean = sum(scenes) / len(scenes)
    return RecordedEvaluation(
        "in the log",
        accuracy=mean,
        accuracy_all_pixels=mean if scenes else number(inference, "accuracy_all_pixels"),
        per_scene={f"scene {rank}": accuracy for rank, accuracy in enumerate(scenes, 1)},
        seconds_per_scene=own_time or published_time,
        seconds_per_scene_all=number(inference, "seconds_per_scene_all") or published_time,
    )


def _numbers(values) -> list[float]:
    """The list of numbers that `values` is, [] if it is anything else."""
    if not isinstance(values, list):
        return []
    numbers = [known for value in values if (known := number({"": value}, "")) is not None]
    return numbers if len(numbers) == len(values) else []


def _from_summary(run: RecordedRun, path: Path | None) -> None:
    """`CloudMask training, samples = 966, epochs=10, …, gpus=2, time_per_epoch=105.27`."""
    if path is None:
        return
    content = reading.read_bytes(path, mlperf_events.LARGEST_FILE)
    for line in content.decode("utf-8", errors="replace").splitlines():
        cells = dict(re.findall(r"(\w+) ?= ?([\d.]+)", line))
        if line.startswith(SUMMARY):
            run.epochs_set = whole(cells, "epochs")
            run.epochs_run = run.epochs_run or run.epochs_set
            run.workers = run.workers or whole(cells, "gpus")
            run.nodes = run.nodes or whole(cells, "nodes")
            run.settings["training.batch_size"] = whole(cells, "bs")
            run.seconds_per_epoch = run.seconds_per_epoch or number(cells, "time_per_epoch")
        elif line.startswith("CloudMask inference,"):
            if not run.evaluations:
                run.evaluations.append(RecordedEvaluation("in the log"))
            if run.test.seconds_per_scene is None:
                seconds = number(cells, "time_per_inference")
                run.test.seconds_per_scene = run.test.seconds_per_scene_all = seconds


def _from_stopwatch(run: RecordedRun, path: Path | None) -> None:
    if path is None:
        return
    try:
        watch = read_stopwatch(path)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: no stop-watch table ({error}); expected '# csv,' lines"
        ) from None
    run.machine = watch.node
    # The stop-watch surrounds more than the log's events: it is what the paper's times are of.
    for name in ("training", "inference"):
        if name in watch.seconds and "first_epoch" not in run.times:
            run.times[name] = watch.seconds[name]
