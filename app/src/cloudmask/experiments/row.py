"""One row of a plan, executed in this process, and what it leaves beside the run's own files.

`row.json` tells which row of which experiment it is, `source.tar.gz` holds the program where no
commit tells what it was, and `failure.json` why the last attempt failed.
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
from cloudmask.record import provenance, result
from cloudmask.system import files, lock

NAME = "row.json"
SOURCE = "source.tar.gz"
FAILURE = "failure.json"
LOCK = ".lock"  # that cloudmask.train.run holds


def execute(
    plan: Plan, row: Row, data: Path, scenes: Sequence[Path], command: list[str]
) -> dict | None:
    """Train and evaluate the row as cloudmask-train would; None if it is finished already.

    Raises what `cloudmask.train.run.train` raises; failures are written to `failure.json` as well.
    """
    from cloudmask.hardware.devices import rank
    from cloudmask.train.run import train

    run = plan.run(row)
    if result.finished(run):
        return None
    config = plan.config(row)
    with _recorded(run):
        worker, _ = rank()
        # Of several workers only the first: it removes what looks unfinished, also of the others.
        if not worker:
            if not run.exists():
                # First, since it is what makes a folder with files in it a run.
                run.mkdir(parents=True)
                files.write_text(run / "config.yaml", config.to_yaml())
            _describe(plan, row, run)
        return train(config, data, run, scenes, command)


def read(run: Path) -> dict | None:
    """What `row.json` tells: experiment, index, parameters; None for a run of no experiment."""
    try:
        return json.loads((run / NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        raise InputError(f"{run / NAME}: damaged; expected the row of an experiment") from None


def _describe(plan: Plan, row: Row, run: Path) -> None:
    described = {"experiment": plan.name, "index": row.index, "parameters": row.parameters}
    files.write_text(run / NAME, json.dumps(described, indent=2) + "\n")
    git = provenance.git()
    if (git["dirty"] or git["commit"] is None) and not (run / SOURCE).exists():
        with files.replacing(run / SOURCE) as temporary, tarfile.open(temporary, "w:gz") as archive:
            archive.dereference = True  # in a checkout the configurations are behind a link
            archive.add(Path(cloudmask.__file__).parent, "cloudmask", filter=_program)


def _program(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What belongs into an archive of the program: neither caches nor the example's data."""
    keep = member.isdir() or Path(member.name).suffix in (".py", ".yaml")
    return member if keep and Path(member.name).name not in ("__pycache__", "example") else None


@contextlib.contextmanager
def _recorded(run: Path) -> Iterator[None]:
    """Write why the block failed; a second process in a run that is in use leaves no trace."""
    if not lock.held(run / LOCK):
        (run / FAILURE).unlink(missing_ok=True)
    try:
        yield
    except Interrupted:
        raise
    except BaseException as error:
        if not lock.held(run / LOCK) and not result.finished(run):
            # A row that cannot even begin has no run yet; its reason still belongs there.
            run.mkdir(parents=True, exist_ok=True)
            reason = str(error).strip() or type(error).__name__
            told = {
                "reason": " ".join(reason.split()),
                "kind": type(error).__name__,
                "host": platform.node(),
                "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            }
            files.write_text(run / FAILURE, json.dumps(told, indent=2) + "\n")
        raise
