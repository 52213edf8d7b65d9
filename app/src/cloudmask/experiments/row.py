"""One row of a plan, executed in this process, and what it leaves beside the run's own files.

`row.json` names which row of which experiment it is, `source.tar.gz` holds the program where no
commit identifies it, and `failure.json` why the last attempt failed.
"""

import contextlib
import datetime
import json
import platform
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cloudmask
from cloudmask.errors import InputError, Interrupted
from cloudmask.experiments.plan import Plan, Row
from cloudmask.record import provenance
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system import files, lock, reading


def execute(
    plan: Plan, row: Row, data: Path, scenes: Sequence[Path], command: list[str]
) -> Result | None:
    """Train and evaluate the row as cloudmask-train would; None if it is finished already.

    Raises what `cloudmask.train.run.train` raises; failures are written to `failure.json` as well.
    """
    from cloudmask.hardware.devices import rank
    from cloudmask.train.run import TrainingRequest, train
    from cloudmask.train.seeds import with_seed

    run = plan.run(row)
    if run.finished:
        return None
    with _recorded(run):
        worker, workers = rank()
        config = with_seed(plan.config(row), run, workers)
        # Of several workers only the first: it removes what looks unfinished, also of the others.
        if not worker:
            if not run.path.exists():
                # First, since it is what makes a folder with files in it a run.
                run.path.mkdir(parents=True)
                files.write_text(run.config, config.to_yaml())
            _describe(plan, row, run)
        return train(TrainingRequest(config, data, run, scenes, command))


def read(run: RunDirectory) -> dict | None:
    """What `row.json` holds: experiment, index, parameters; None for a run of no experiment."""
    try:
        described = reading.read_json(run.row, reading.MIB)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        described = None
    if not isinstance(described, dict) or not isinstance(described.get("parameters"), dict):
        raise InputError(f"{run.row}: damaged; expected the row of an experiment")
    return described


def _describe(plan: Plan, row: Row, run: RunDirectory) -> None:
    described = {"experiment": plan.name, "index": row.index, "parameters": row.parameters}
    files.write_text(run.row, json.dumps(described, indent=2) + "\n")
    git = provenance.git()
    if (git["dirty"] or git["commit"] is None) and not run.source.exists():
        with files.replacing(run.source) as temporary, tarfile.open(temporary, "w:gz") as archive:
            archive.dereference = True  # in a checkout the configurations are behind a link
            archive.add(Path(cloudmask.__file__).parent, "cloudmask", filter=_program)


def _program(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What belongs into an archive of the program: neither caches nor the example's data."""
    keep = member.isdir() or Path(member.name).suffix in (".py", ".yaml")
    return member if keep and Path(member.name).name not in ("__pycache__", "example") else None


@contextlib.contextmanager
def _recorded(run: RunDirectory) -> Iterator[None]:
    """Write why the block failed; a second process in a run that is in use leaves no trace."""
    if not lock.held(run.lock):
        run.failure.unlink(missing_ok=True)
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not lock.held(run.lock) and not run.finished:
            # A row that cannot even begin has no run yet; its reason still belongs there.
            run.path.mkdir(parents=True, exist_ok=True)
            reason = str(error).strip() or type(error).__name__
            failure = {
                "reason": " ".join(reason.split()),
                "kind": type(error).__name__,
                "host": platform.node(),
                "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            }
            files.write_text(run.failure, json.dumps(failure, indent=2) + "\n")
        raise
