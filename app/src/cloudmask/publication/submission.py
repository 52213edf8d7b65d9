"""The directory that MLCommons Science takes: `{organization}/{application}/{system}/{descriptor}`.

It holds `result-N.txt` (the log of each run), `config.yaml`, the scripts, `system.yaml`,
`README.md` and `sientific_contribution.pdf`, which the rules spell so.
"""

import json
import re
import shlex
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from cloudmask.config.settings import unidentified
from cloudmask.errors import InputError
from cloudmask.experiments import plan
from cloudmask.publication import contribution
from cloudmask.record import result
from cloudmask.record.compliance import findings
from cloudmask.record.rules import TARGET
from cloudmask.record.run_directory import RunDirectory
from cloudmask.scenes import dataset
from cloudmask.system import files

APPLICATION = "cloudmask"
CONTRIBUTION = "sientific_contribution.pdf"
DATA = {
    "name": dataset.NAME,
    "location": dataset.LOCATION,
    "endpoint": dataset.ENDPOINT,
    "retrieval": dataset.RETRIEVAL,
}


@dataclass(frozen=True)
class Run:
    """A finished run: its directory, `result.json`, configuration and provenance."""

    folder: Path
    result: dict
    config: dict
    facts: dict

    @property
    def accuracy(self) -> float:
        """On whole inference scenes, 0 to 1."""
        return self.result["inference"]["accuracy"]


def write(folders: Sequence[Path], out: Path, descriptor: str, best: bool) -> Path:
    """Write the directory below `out` from these runs and return it.

    best: submit the best of them alone; how many there were is declared. Raises InputError with
    every reason for which the rules would refuse it.
    """
    reasons: list[Reason] = []
    runs = [run for folder in _runs(folders) if (run := _read(folder, reasons))]
    if runs:
        _compare(runs, reasons)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", descriptor):
        text = f"--descriptor {descriptor!r}: expected letters, digits, points, dashes"
        reasons.append(Reason(None, text))
    if reasons:
        lines = _lines(reasons)
        count = "1 thing is" if len(lines) == 1 else f"{len(lines)} things are"
        listing = "".join(f"\n  {line}" for line in lines)
        raise InputError(f"no submission, {count} missing or wrong:{listing}")
    chosen = [max(runs, key=lambda run: run.accuracy)] if best else runs
    who = runs[0].config["submission"]
    system = who["platform"] or runs[0].result["system"]["gpu"] or runs[0].result["system"]["cpu"]
    place = out / _name(who["organization"]) / APPLICATION / _name(system) / descriptor
    if place.exists():
        raise InputError(f"{place}: is there already; expected another --descriptor")
    temporary = place.with_name(f".{descriptor}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    selection = _selection(runs, best)
    for number, run in enumerate(chosen, 1):
        shutil.copy(run.folder / "mlperf.log", temporary / f"result-{number}.txt")
    shutil.copy(runs[0].folder / "config.yaml", temporary / "hyperparameters.yaml")
    _write_yaml(temporary / "config.yaml", _config(runs[0], selection))
    _write_yaml(temporary / "system.yaml", runs[0].result["system"])
    files.write_text(temporary / "run.sh", _script(runs[0]))
    (temporary / "run.sh").chmod(0o755)
    files.write_text(temporary / "README.md", _readme(chosen, system, selection))
    contribution.write(temporary / CONTRIBUTION, [vars(run) for run in chosen], system, selection)
    temporary.rename(place)
    return place


class Reason(NamedTuple):
    """What speaks against a submission, and in which run."""

    folder: Path | None
    text: str


def _lines(reasons: Sequence[Reason]) -> list[str]:
    """The reasons in words, those of several runs once."""
    folders: dict[str, list[Path | None]] = {}
    for reason in reasons:
        folders.setdefault(reason.text, []).append(reason.folder)
    lines = []
    for text, (first, *others) in folders.items():
        more = f" and {len(others)} more" if others else ""
        lines.append(f"{first}{more}: {text}" if first else text)
    return lines


def _runs(folders: Sequence[Path]) -> list[Path]:
    """The run directories; an experiment's folder stands for all rows of its plan."""
    found = []
    for folder in folders:
        planned = plan.load(folder) if folder.is_dir() else None
        found += [planned.run(row).path for row in planned.rows] if planned else [folder]
    return found


def _read(folder: Path, reasons: list[Reason]) -> Run | None:
    """The run, or None; what is wrong with it goes to `reasons`."""
    before = len(reasons)

    def wrong(text: str) -> None:
        reasons.append(Reason(folder, text))

    if not result.finished(folder):
        wrong("not finished; only a finished run has a result.json")
        return None
    try:
        found = result.read_result(folder)
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        facts = json.loads((RunDirectory(folder).provenance).read_text(encoding="utf-8"))
        problems = findings(folder / "mlperf.log")
    except (InputError, OSError, ValueError, yaml.YAMLError) as error:
        wrong(f"damaged: {error}")
        return None
    for problem in problems:
        wrong(f"mlperf.log: {problem}")
    if not found.get("inference"):
        wrong("no inference over whole scenes; train with --scenes")
    if not (facts.get("git") or {}).get("commit"):
        wrong("the code's commit is not known; run from a checkout or image")
    elif facts["git"].get("dirty"):
        wrong("the code had uncommitted changes; expected a commit as it is")
    for key in unidentified(config.get("submission", {})):
        wrong(f"{key} is not set in its configuration")
    return Run(folder, found, config, facts) if len(reasons) == before else None


def _compare(runs: Sequence[Run], reasons: list[Reason]) -> None:
    """Runs of one submission are repeats of each other."""
    first = runs[0]

    def facts(run: Run) -> dict:
        system = {key: run.result["system"].get(key) for key in ("gpu", "gpus", "nodes", "cpu")}
        return {
            "has another configuration than": run.result["experiment"]["config_sha256"],
            "ran on another system than": system,
            "ran other code than": run.facts["git"]["commit"],
            "was trained on other patches than": (run.facts.get("data") or {}).get("checksum"),
            "judged other scenes than": set(run.result["inference"]["accuracy_per_scene"]),
        }

    for run in runs[1:]:
        for words, value in facts(run).items():
            if value != facts(first)[words]:
                reasons.append(Reason(run.folder, f"{words} {first.folder}"))
    if len({run.folder.resolve() for run in runs}) < len(runs):
        reasons.append(Reason(None, "the same run is given twice"))


def _selection(runs: Sequence[Run], best: bool) -> str:
    if not best:
        return f"all {len(runs)} runs given" if len(runs) > 1 else "one run"
    accuracies = ", ".join(f"{run.accuracy:.4f}" for run in runs)
    return f"the best of {len(runs)} by accuracy on the inference scenes ({accuracies})"


def _config(run: Run, selection: str) -> dict:
    return {
        "benchmark": APPLICATION,
        "division": run.config["submission"]["division"],
        "selection": selection,
        "code": {
            "version": run.facts["versions"]["cloudmask"],
            "commit": run.facts["git"]["commit"],
            "container": run.facts.get("container"),
        },
        "data": DATA | {"patches_sha256": (run.facts.get("data") or {}).get("checksum")},
        "hyperparameters": run.config,
    }


def _script(run: Run) -> str:
    return (
        "#!/usr/bin/env bash\n"
        "# Data, patches, training and inference of this submission. One call is one run.\n"
        "set -euo pipefail\n"
        "cloudmask-data --out data\n"
        "[[ -e patches.h5 ]] || cloudmask-prepare --scenes data/training --out patches.h5\n"
        'cloudmask-train --config "$(dirname "$0")/hyperparameters.yaml" --data patches.h5 \\\n'
        '  --scenes data/inference --run "${1:?run directory}"\n'
        f"# As it was called: {shlex.join(run.facts['command'])}\n"
    )


def _readme(runs: Sequence[Run], system: str, selection: str) -> str:
    who = runs[0].config["submission"]
    rows = "".join(
        f"| result-{number}.txt | {run.result['training']['epochs_run']} | {run.accuracy:.4f} | "
        f"{run.result['training']['seconds']:.1f} | "
        f"{run.result['inference']['seconds_per_scene']:.3f} |\n"
        for number, run in enumerate(runs, 1)
    )
    mean = statistics.mean(run.accuracy for run in runs)
    return (
        f"# {APPLICATION} on {system}\n\n"
        f"Submitted by {who['name']} ({who['email']}), {who['organization']}; division "
        f"{who['division']}, status {who['status']}.\n\n"
        f"Submitted: {selection}. Mean accuracy {mean:.4f} on "
        f"{runs[0].result['inference']['scenes']} scenes; the working group's target is {TARGET:g} "
        f"on the data set's {dataset.INFERENCE_SCENES}.\n\n"
        "| log | epochs | accuracy on inference scenes | training (s) | inference (s/scene) |\n"
        f"|---|---|---|---|---|\n{rows}\n"
        "`config.yaml`: all hyper-parameters, the code's version, the data and how to get them.\n"
        "`system.yaml`: the machine. `run.sh RUN`: makes such a run. "
        f"`{CONTRIBUTION}`: the scientific result.\n"
    )


def _write_yaml(path: Path, tree: dict) -> None:
    files.write_text(path, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _name(text: str) -> str:
    """A directory's name out of words."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._-") or "unknown"
