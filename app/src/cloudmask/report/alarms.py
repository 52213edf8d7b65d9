"""What a reviewer must know before believing a table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cloudmask.errors import InputError
from cloudmask.record.run_directory import RunDirectory
from cloudmask.report.collection import Collection
from cloudmask.report.groups import Group
from cloudmask.report.published import time_note
from cloudmask.report.runs import RecordedRun
from cloudmask.system import files, names, reading
from cloudmask.system.text import named, plural

LEVELS = ("alarm", "warning", "note")
LARGEST_PLAN = 64 * reading.MIB  # a row takes some 500 bytes


class Alarm(NamedTuple):
    """level: of LEVELS; title: a short one; text: what was found and what it means."""

    level: str
    title: str
    text: str


def alarms(found: Collection) -> list[Alarm]:
    """All alarms, the gravest first."""
    groups = found.groups
    raised = [
        *_identical(found.runs),
        *_missing(found),
        *_mixed(groups, found.runs),
        *_constant(found.runs),
        *_compliance(found),
        *_shared_nodes(found.runs),
        *_best_of(groups, found.runs),
        *_contradictions(found.runs),
        *_notes(found.runs),
    ]
    return sorted(raised, key=lambda alarm: LEVELS.index(alarm.level))


def _identical(runs: Sequence[RecordedRun]) -> list[Alarm]:
    """Runs equal to the last digit: one model under several names, copies, or true repeats."""
    by_result: dict[tuple, list[RecordedRun]] = defaultdict(list)
    for run in runs:
        for key in _fingerprints(run):
            by_result[key].append(run)
    raised: list[Alarm] = []
    reported: set[tuple[str, ...]] = set()
    for (kind, _), same in by_result.items():
        names = tuple(run.name for run in same)
        if len(same) > 1 and names not in reported:
            reported.add(names)
            raised.append(_same_result(same, kind))
    return raised


def _fingerprints(run: RecordedRun) -> list[tuple]:
    keys = []
    # A log without names gives the scenes in any order, so that only sorted values are comparable.
    # A classifier that calls everything cloud, or nothing, scores like all others that do.
    if len(run.test.per_scene) > 1 and not run.test.constant:
        keys.append(("accuracies of scenes", tuple(sorted(run.test.per_scene.values()))))
    if run.history.get("loss"):
        keys.append(("losses by epoch", tuple(run.history["loss"])))
    return keys


def _same_result(same: Sequence[RecordedRun], kind: str) -> Alarm:
    text = f"{named(run.name for run in same)}: all {kind} are identical to the last digit. "
    # Equal trainings may end at different epochs and yet keep the weights of the same one.
    losses = {tuple(run.history.get("loss", ())[: run.best_epoch]) for run in same}
    if len({_decisive(run) for run in same}) > 1 or len(losses) > 1:
        models = " Their model files are equal byte by byte." if _one_model(same) else ""
        return Alarm(
            "alarm",
            f"{len(same)} different runs, one result",
            f"{text}Different trainings do not give identical results: most likely one model was "
            f"evaluated {len(same)} times.{models}",
        )
    seconds = Counter(tuple(run.history.get("seconds", ())) for run in same)
    if any(times and count > 1 for times, count in seconds.items()):
        return Alarm(
            "alarm",
            f"{len(same)} runs, copies of one",
            f"{text}So are the times of every epoch, which no machine repeats: these are copies.",
        )
    return Alarm(
        "note",
        f"{len(same)} equal runs",
        f"{text}Equal settings and seeds can give identical results, and always do on a CPU. "
        "They count as one observation: their spread is no measure of random variation.",
    )


def _decisive(run: RecordedRun) -> tuple:
    """What makes a training another one; a limit of epochs that was not met does not."""
    ignored = ("early_stopping.", "training.epochs", "training.threads")
    settings = tuple(
        sorted((k, str(v)) for k, v in run.settings.items() if not k.startswith(ignored))
    )
    return settings, run.seed, run.precision, run.device, run.best_epoch or run.epochs_run


def _one_model(runs: Sequence[RecordedRun]) -> bool:
    paths = [RunDirectory(run.path).model for run in runs]
    try:
        if not all(path.is_file() for path in paths):
            return False
        # Hashing a thousand models takes a while; those of different sizes need none.
        return len({path.stat().st_size for path in paths}) == 1 and (
            len({files.sha256(path) for path in paths}) == 1
        )
    except (OSError, InputError):  # Nobody can tell.
        return False


def _missing(found: Collection) -> list[Alarm]:
    raised = []
    if found.damaged:
        raised.append(
            Alarm(
                "alarm",
                f"{len(found.damaged)} damaged",
                f"{named(path for path, _ in found.damaged)}: not in any table; the reasons are "
                "listed below.",
            )
        )
    if found.unfinished:
        names = named(str(path) for path in found.unfinished)
        raised.append(
            Alarm(
                "warning",
                f"{len(found.unfinished)} not finished",
                f"{names}: started, but without a result yet. If such runs were abandoned "
                "because of how they went, the remaining runs are a biased selection.",
            )
        )
    for plan in found.plans:
        raised += _planned(plan)
    return raised + _gaps(found.runs)


def _planned(plan: Path) -> list[Alarm]:
    """Rows of an experiment's frozen plan that have no result."""
    try:
        content = reading.read_json(plan, LARGEST_PLAN)
        if not isinstance(content, dict):
            raise InputError(f"{plan}: no plan")
        where = f"{plan}: directory"
        rows = [names.file_name(row["directory"], where) for row in content["rows"]]
    except (OSError, InputError, ValueError, KeyError, TypeError, RecursionError):
        return [Alarm("alarm", "Damaged plan", f"{plan}: the missing runs cannot be determined.")]
    absent = [row for row in rows if not RunDirectory(plan.parent / row).finished]
    if not absent:
        return []
    title = f"{len(absent)} of {plural(len(rows), 'planned run')} missing"
    return [Alarm("warning", title, f"{plan.parent}: no result in {named(absent)}.")]


def _gaps(runs: Sequence[RecordedRun]) -> list[Alarm]:
    """Of logs named by card and epochs: combinations that others of the same source have."""
    raised = []
    sources = dict.fromkeys(run.source for run in runs if run.origin == "log")
    for source in sources:
        there = {
            (run.device, run.epochs_set)
            for run in runs
            if run.origin == "log" and run.source == source and run.device and run.epochs_set
        }
        devices = sorted({device for device, _ in there})
        epochs = sorted({number for _, number in there})
        wanted = [(device, number) for device in devices for number in epochs]
        absent = [
            f"{device} {number}" for device, number in wanted if (device, number) not in there
        ]
        if absent and len(devices) > 1 and len(epochs) > 1:
            raised.append(
                Alarm(
                    "warning",
                    f"{len(absent)} of {len(wanted)} runs missing",
                    f"{source}: of {len(devices)} devices and {', '.join(map(str, epochs))} "
                    f"epochs there are no logs for {named(absent)}. Whether those runs failed is "
                    "unknown.",
                )
            )
    return raised


def _mixed(groups: Sequence[Group], runs: Sequence[RecordedRun]) -> list[Alarm]:
    raised = []
    for group in groups:
        codes = Counter(run.code for run in group.runs if run.code)
        if len(codes) > 1:
            listing = "; ".join(f"{count} × {code}" for code, count in codes.items())
            raised.append(Alarm("warning", "Mixed code versions", f"{group.label}: {listing}."))
    own = [run for run in runs if run.origin == "run"]
    dirty = [run.name for run in own if run.code and "-dirty" in run.code]
    if dirty:
        raised.append(
            Alarm(
                "warning",
                "Code with uncommitted changes",
                f"{named(dirty)}: the commit does not identify the code that ran.",
            )
        )
    data = Counter(run.data for run in own if run.data)
    if len(data) > 1:
        listing = ", ".join(f"{plural(n, 'run')} on {sum_[:8]}" for sum_, n in data.items())
        raised.append(
            Alarm("warning", "Mixed training data", f"Checksums of the patches: {listing}.")
        )
    scenes = Counter(frozenset(run.test.per_scene) for run in own if run.test.per_scene)
    if len(scenes) > 1:
        listing = ", ".join(f"{plural(n, 'run')} on {len(names)}" for names, n in scenes.items())
        raised.append(
            Alarm(
                "warning",
                "Different test scenes",
                f"Scenes tested: {listing}. Accuracies over different scenes are not comparable.",
            )
        )
    return raised


def _constant(runs: Sequence[RecordedRun]) -> list[Alarm]:
    names = [run.name for run in runs if run.test.constant]
    if not names:
        return []
    text = f"{named(names)}: the network assigns the same class to every pixel of every scene."
    return [Alarm("warning", f"{plural(len(names), 'run')} learned nothing", text)]


def _compliance(found: Collection) -> list[Alarm]:
    failing: dict[tuple, list[str]] = defaultdict(list)
    for run in found.runs:
        if run.log_problems:
            failing[tuple(run.log_problems)].append(run.name)
    raised = [
        Alarm(
            "alarm",
            f"Failed compliance: {plural(len(names), 'log')}",
            f"{named(names)}: {_lacking(problems)}.",
        )
        for problems, names in failing.items()
    ]
    if found.keys_only:
        title = f"{plural(found.keys_only, 'log')} checked for keys only"
        text = (
            "They hold all required keys; cloudmask-check-log also checks their order and values."
        )
        raised.append(Alarm("note", title, text))
    return raised


def _shared_nodes(runs: Sequence[RecordedRun]) -> list[Alarm]:
    names = [run.name for run in runs if run.shared_node]
    if not names:
        return []
    text = (
        f"{named(names)}: other jobs, processes of other users or other processes on the GPUs were "
        "there at the begin or the end (`system.other_jobs` of result.json). Times and energy are "
        "not those of the run alone."
    )
    return [Alarm("warning", f"{plural(len(names), 'run')} on shared nodes", text)]


def _lacking(problems: Sequence[str]) -> str:
    missing = [text.removesuffix(": missing") for text in problems if text.endswith(": missing")]
    others = [text for text in problems if not text.endswith(": missing")]
    parts = []
    if missing:
        parts = [f"{plural(len(missing), 'required key')} missing: {', '.join(missing)}"]
    return "; ".join(parts + others)


def _best_of(groups: Sequence[Group], runs: Sequence[RecordedRun]) -> list[Alarm]:
    raised = []
    aside = [run.name for run in runs if run.set_aside]
    if aside:
        raised.append(
            Alarm(
                "warning",
                f"{plural(len(aside), 'finished run')} set aside",
                f"{named(aside)}: repeated with --force. They are in no group; reporting "
                "the later runs alone is reporting the best of several attempts.",
            )
        )
    several = [
        f"{group.label}, {group.tested_on}: of {summary.n} the best has {summary.high:.4f}, "
        f"the mean is {summary.mean:.4f} (standard deviation {summary.sd:.4f})"
        for group in groups
        if (summary := group.summary(lambda run: run.test_accuracy)) and summary.high > summary.low
    ]
    if several:
        raised.append(
            Alarm(
                "note",
                f"Best of several: {plural(len(several), 'group')}",
                "Under the rules the best test accuracy of n runs has to be declared as a best of "
                f"n. {named(several)}.",
            )
        )
    return raised


def _contradictions(runs: Sequence[RecordedRun]) -> list[Alarm]:
    """Notes of single runs, each reported once for all runs that have it."""
    by_note: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        for note in run.notes:
            by_note[note].append(run.name)
    return [
        Alarm(
            "warning",
            f"{plural(len(names), 'run')} with incomplete or contradictory files",
            f"{named(names)}: {note}.",
        )
        for note, names in by_note.items()
    ]


def _notes(runs: Sequence[RecordedRun]) -> list[Alarm]:
    raised = []
    resumed = [f"{run.name} ({run.attempts})" for run in runs if run.attempts > 1]
    if resumed:
        raised.append(
            Alarm(
                "note",
                f"{plural(len(resumed), 'run')} in several attempts",
                f"{named(resumed)}: interrupted and resumed; the start-up time shown is that of "
                "the last attempt.",
            )
        )
    averaged = [r.name for r in runs if r.origin == "log" and "first_epoch" not in r.times]
    if any(r.seconds_per_epoch for r in runs if r.name in averaged):
        raised.append(
            Alarm(
                "note",
                "Time per epoch of the published logs",
                f"{named(averaged)}: total training time divided by the number of epochs "
                "requested, including the first pass over the file system. The fit below "
                "separates the two.",
            )
        )
    if note := time_note(list(runs)):
        raised.append(Alarm("note", "“avg. train time” of the paper", note))
    return raised
