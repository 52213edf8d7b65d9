"""Everything that lies under the paths a user names: runs, logs, and what cannot be read."""

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from cloudmask.errors import InputError
from cloudmask.record.compliance import findings
from cloudmask.record.run_directory import CHECKPOINTS, CONFIG, LOG, RESULT, RunDirectory
from cloudmask.report import logs
from cloudmask.report.groups import Group, group
from cloudmask.report.published import published
from cloudmask.report.runs import RecordedRun, checked, read_run, reason
from cloudmask.system.text import one_line

PLAN = "plan.json"
# Logs whose events are checked in every respect: the checker takes 0.1 s for one of 200 epochs.
FULLY_CHECKED = 40


@dataclass
class Collection:
    """runs: all that can be shown; damaged: path and reason; unfinished, plans: paths.

    keys_only: own logs of which only the required keys were looked for.
    """

    paths: list[str]
    runs: list[RecordedRun] = field(default_factory=list)
    damaged: list[tuple[str, str]] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)
    plans: list[Path] = field(default_factory=list)
    keys_only: int = 0

    def tried(self, path: Path, read: Callable[[], list[RecordedRun]]) -> list[RecordedRun]:
        """The runs that `read` finds at `path`; [] and a note if they are damaged."""
        try:
            return [checked(run) for run in read()]
        except MemoryError:
            raise
        except Exception as error:
            # Files of others, damaged ones above all, can make a reader raise anything. One of
            # them is no reason to withhold the report of the others.
            self.damaged.append((one_line(str(path)), reason(error, path)))
            return []

    @cached_property
    def groups(self) -> list[Group]:
        """The runs by what they repeat."""
        return group(self.runs)


def collect(paths: Sequence[Path | str], with_published: bool = True) -> Collection:
    """Read run directories, logs and folders of both, and add what is published.

    Raises InputError if a path does not exist or nothing of use lies under any of them.
    """
    found = Collection([str(path) for path in paths])
    finished: list[Path] = []
    texts: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            _walk(path, found, finished, texts)
        elif path.is_file():
            texts.append(path)
        else:
            raise InputError(f"{path}: no such file or folder; expected runs or logs")
    finished = list(dict.fromkeys(finished))
    for folder, name in zip(finished, _names(finished), strict=True):
        _add_run(found, folder, name)
    for name, files in logs.together(sorted(set(texts))).items():
        found.runs += found.tried(Path(name), partial(logs.read_logs, Path(name).name, files))
    if not (found.runs or found.damaged or found.unfinished):
        listing = ", ".join(found.paths)
        raise InputError(f"{listing}: no run and no log; expected run directories or MLPerf logs")
    _check_logs(found)
    if with_published:
        found.runs += published({run.source for run in found.runs})
    return found


def _walk(top: Path, found: Collection, finished: list[Path], texts: list[Path]) -> None:
    """Sort what lies under `top`; links are followed, once each."""
    seen = set()

    def unreadable(error: OSError) -> None:
        found.damaged.append((one_line(str(error.filename)), f"{error.strerror}"))

    for name, folders, names in os.walk(top, onerror=unreadable, followlinks=True):
        folder, identity = Path(name), os.path.realpath(name)
        if identity in seen:
            folders.clear()
            continue
        seen.add(identity)
        folders.sort()
        if PLAN in names:
            found.plans.append(folder / PLAN)
        if RESULT in names or CONFIG in names:
            # What lies in a run, its evaluations and its own log, belongs to it.
            checkpoints = CHECKPOINTS in folders
            folders.clear()
            if RESULT in names:
                finished.append(folder)
            elif LOG in names or checkpoints:
                found.unfinished.append(folder)
            else:
                texts += _texts(folder, names)
            continue
        texts += _texts(folder, names)


def _texts(folder: Path, names: Sequence[str]) -> list[Path]:
    return [folder / name for name in sorted(names) if name.endswith(logs.SUFFIXES)]


def _names(folders: Sequence[Path]) -> list[str]:
    """For each folder its name, with as many parents as tell it from the others."""
    parts = [folder.absolute().parts for folder in folders]
    depth = [1] * len(parts)
    while True:
        names = ["/".join(own[-count:]) for own, count in zip(parts, depth, strict=True)]
        twice = {name for name, count in Counter(names).items() if count > 1}
        longer = [
            count + 1 if name in twice and count < len(own) else count
            for name, count, own in zip(names, depth, parts, strict=True)
        ]
        if longer == depth:
            return names
        depth = longer


def _add_run(found: Collection, folder: Path, name: str) -> None:
    directory = RunDirectory(folder)
    if not (read := found.tried(folder, lambda: [read_run(directory, name)])):
        return
    (run,) = read
    if not directory.config.exists() and (twin := _evaluated(found, run)):
        run.test.where = name
        twin.evaluations += run.evaluations
        return
    # cloudmask-train --force renames an earlier run to the first free name.1, name.2, …
    numbered = re.fullmatch(r"(.+?)\.\d+", folder.name)
    run.set_aside = numbered is not None and folder.with_name(numbered[1]).exists()
    found.runs.append(run)


def _check_logs(found: Collection) -> None:
    """Check the logs that have all keys for order and values too, as far as that can be done."""
    own = [run for run in found.runs if run.origin == "run" and not run.log_problems]
    own = [run for run in own if RunDirectory(run.path).log.exists()]
    found.keys_only = len(own)
    for run in own[:FULLY_CHECKED]:
        try:
            run.log_problems = [one_line(line) for line in findings(RunDirectory(run.path).log)]
        except InputError:  # the checker is an extra
            return
        except MemoryError:
            raise
        except Exception as error:  # It was written for logs that have what it looks for.
            run.log_problems = [f"the checker fails on it ({reason(error, Path(run.path))})"]
        found.keys_only -= 1


def _evaluated(found: Collection, evaluation: RecordedRun) -> RecordedRun | None:
    """The run whose model was evaluated into a folder of its own, if it is among the others."""
    facts = (evaluation.settings, evaluation.seed, evaluation.val_loss, evaluation.epochs_run)
    for run in found.runs:
        if evaluation.val_loss is not None and facts == (
            run.settings,
            run.seed,
            run.val_loss,
            run.epochs_run,
        ):
            return run
    return None
