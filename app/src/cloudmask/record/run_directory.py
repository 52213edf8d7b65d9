"""The directory of a run: every file by its name, whether the run is finished, and claiming it.

An evaluation's folder holds some of the same files under the same names.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cloudmask.errors import InputError, InUse
from cloudmask.record.history import Epoch, read_history
from cloudmask.record.result import Result
from cloudmask.system import files, reading
from cloudmask.system.lock import exclusive, held
from cloudmask.system.output import LOCK

CONFIG = "config.yaml"
RESULT = "result.json"
HISTORY = "history.csv"
LOG = "mlperf.log"
SUMMARY = "summary.txt"
TELEMETRY = "telemetry.csv"
PROVENANCE = "provenance.json"
MODEL = "model.keras"
CHECKPOINTS = "checkpoints"
JOB = "job"
# What an evaluation leaves.
SCENES_TABLE = "scenes.csv"
MASKS = "masks"
PICTURES = "pictures"
EVALUATION = "evaluation"
MOST_EVALUATIONS = 10_000  # of a run
# What a row of an experiment leaves beside its run.
ROW = "row.json"
SOURCE = "source.tar.gz"
FAILURE = "failure.json"


class RunDirectory:
    """Where a run, or an evaluation, keeps its files; nothing is read or made by naming it."""

    def __init__(self, path: Path | str):
        self.path = Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        return f"RunDirectory({str(self.path)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunDirectory) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path)

    @property
    def config(self) -> Path:
        """The complete configuration."""
        return self.path / CONFIG

    @property
    def result(self) -> Path:
        """The result: it exists if and only if the run is finished."""
        return self.path / RESULT

    @property
    def history(self) -> Path:
        """Figures of every epoch."""
        return self.path / HISTORY

    @property
    def log(self) -> Path:
        """Events of the run as MLPerf logging writes them."""
        return self.path / LOG

    @property
    def summary(self) -> Path:
        """Times by phase and the machine, as the stopwatch writes them."""
        return self.path / SUMMARY

    @property
    def telemetry(self) -> Path:
        """Power, utilization and memory while it ran."""
        return self.path / TELEMETRY

    @property
    def provenance(self) -> Path:
        """Software, machine, job and data."""
        return self.path / PROVENANCE

    @property
    def model(self) -> Path:
        """The trained network."""
        return self.path / MODEL

    @property
    def checkpoints(self) -> Path:
        """Folder of the states that an interrupted run continues from."""
        return self.path / CHECKPOINTS

    @property
    def job(self) -> Path:
        """Folder of what started it: batch script, image definition, lock file of the image."""
        return self.path / JOB

    @property
    def lock(self) -> Path:
        """Lock file of the process that works in it."""
        return self.path / LOCK

    @property
    def scenes_table(self) -> Path:
        """Scores of every scene of an evaluation."""
        return self.path / SCENES_TABLE

    @property
    def masks(self) -> Path:
        """Folder of an evaluation's masks."""
        return self.path / MASKS

    @property
    def pictures(self) -> Path:
        """Folder of an evaluation's pictures."""
        return self.path / PICTURES

    @property
    def row(self) -> Path:
        """Which row of which experiment the run is."""
        return self.path / ROW

    @property
    def source(self) -> Path:
        """The program of a row, where no commit names it."""
        return self.path / SOURCE

    @property
    def failure(self) -> Path:
        """Why the last attempt of a row failed."""
        return self.path / FAILURE

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.result.is_file()

    def read_result(self) -> Result:
        """Read the result; raises InputError, naming the file, if it is missing or damaged."""
        return Result.read(self.result)

    def read_history(self) -> list[Epoch]:
        """Read the figures of every epoch; raises InputError if they are missing or damaged."""
        return read_history(self.history)

    def checkpoint_files(self) -> list[Path]:
        """Checkpoints in their order, the newest last."""
        return sorted(self.checkpoints.glob("[0-9]*-[0-9]*.npz"))

    def evaluations(self) -> list["RunDirectory"]:
        """Folders of the run's evaluations, by name."""
        return [RunDirectory(path) for path in sorted(self.path.glob(f"{EVALUATION}*/"))]

    def possible_evaluations(self) -> Iterator["RunDirectory"]:
        """The folders `evaluation`, `evaluation-2`, … that hold no finished one, in this order."""
        for number in range(1, MOST_EVALUATIONS + 1):
            folder = RunDirectory(self.path / (EVALUATION + (f"-{number}" if number > 1 else "")))
            if not folder.finished:
                yield folder

    def check_free(self, config: str) -> None:
        """Raise InputError unless the run of `config` (YAML) can begin or continue here."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self}: is a file; expected a run directory")
        if self.finished:
            raise InputError(
                f"{self}: this run is finished; expected a new or unfinished run directory "
                "(--force moves it aside)"
            )
        if self.config.exists():
            if not self._begun_with(config):
                raise InputError(
                    f"{self}: was begun with another configuration ({self.config}); "
                    "expected the same one, or a new run directory"
                )
        elif any(not path.name.startswith(".") for path in self.path.glob("*")):
            raise InputError(f"{self}: holds files but no run; expected an empty or new directory")

    def _begun_with(self, config: str) -> bool:
        """Whether the run was begun with these settings, perhaps by a version that had fewer."""
        if reading.read_text(self.config, reading.MIB) == config:
            return True
        from cloudmask.config.settings import load_config

        with contextlib.suppress(InputError):
            return load_config(self.config).to_yaml() == config
        return False

    def move_aside(self) -> Path | None:
        """Rename a finished run, or evaluation, to a free name and return that; None if it is none.

        Raises InUse while another process does the same or still works in it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A lock beside it: one inside would move along.
        with exclusive(self.path.with_name(f".{self.path.name}.lock"), str(self)):
            if not self.finished:
                return None
            if held(self.lock):
                raise InUse(f"{self}: in use by another process")
            return files.move_aside(self.path)

    @contextlib.contextmanager
    def claimed(self, config: str) -> Iterator[None]:
        """Hold the directory for one process, which alone writes in it; make it if need be.

        Temporary files of a killed process are removed and the configuration is written if it is
        not there. Raises InputError as `check_free` does, or if another process holds it.
        """
        self.check_free(config)
        self.path.mkdir(parents=True, exist_ok=True)
        with exclusive(self.lock, str(self)):
            # Another process may have finished the run, or begun one, before the lock was ours.
            self.check_free(config)
            files.remove_temporary(self.path, self.checkpoints, locked=True)
            if not self.config.exists():
                files.write_text(self.config, config)
            yield


def finished_runs(folder: Path | str) -> list[RunDirectory]:
    """Finished runs and evaluations one or two levels below `folder`."""
    # Named levels, since "**" would not follow a link to a run on another file system.
    folder = Path(folder)
    results = [*folder.glob(f"*/{RESULT}"), *folder.glob(f"*/*/{RESULT}")]
    return [RunDirectory(path.parent) for path in results]
