"""The networks that can be evaluated: that of a run, one from a file, and the example."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cloudmask.config.settings import Config, load_config
from cloudmask.errors import InputError
from cloudmask.evaluate import example, saved_network
from cloudmask.evaluate.saved_network import NetworkFacts
from cloudmask.patches.store import PatchStore
from cloudmask.record import recorded_provenance
from cloudmask.record.result import Result
from cloudmask.record.run_directory import RunDirectory, finished_runs
from cloudmask.scenes.slstr import LABEL_SOURCES

RUNS = Path("runs")  # where runs are looked for if none is named


class NetworkSource(Protocol):
    """Where a network comes from; its text names it."""

    @property
    def base(self) -> RunDirectory:
        """Where its evaluations are written by default."""

    def check(self) -> None:
        """Raise InputError unless there is a network."""

    def config(self) -> Config:
        """The configuration that it was trained with, as far as known."""

    def result(self) -> Result | None:
        """The result of its training, if known."""

    def patches(self) -> Path | None:
        """The patch store that it was trained on, if known."""

    def facts(self) -> NetworkFacts:
        """What the network tells about itself."""

    def load(self) -> Any:
        """Read the network; raises InputError if that fails."""


@dataclass(frozen=True)
class RunNetwork:
    """The network of a finished run."""

    run: RunDirectory

    def __str__(self) -> str:
        return str(self.run)

    @property
    def base(self) -> RunDirectory:
        return self.run

    def check(self) -> None:
        if not self.run.finished:
            name = self.run.result.name
            raise InputError(f"{self.run}: not a finished run; expected a folder with {name}")

    def config(self) -> Config:
        return load_config(self.run.config)

    def result(self) -> Result | None:
        return self.run.read_result()

    def patches(self) -> Path | None:
        path = self.run.provenance
        if not path.exists():
            return None
        data = recorded_provenance.read(path).data
        if data is None or data.path is None:
            raise InputError(f"{path}: damaged; expected the path of the patches in it")
        return Path(data.path)

    def facts(self) -> NetworkFacts:
        found = saved_network.facts(self.run.model)
        return found if found.labels else found.model_copy(update={"labels": self._labels()})

    def _labels(self) -> str:
        """Label source of the run's patches if they are still there: older networks do not tell."""
        with contextlib.suppress(InputError):
            if (path := self.patches()) and path.is_file():
                labels = PatchStore(path).label_source
                return labels if labels in LABEL_SOURCES else ""
        return ""

    def load(self) -> Any:
        return saved_network.load(self.run.model)


@dataclass(frozen=True)
class FileNetwork:
    """A saved network of which nothing else is known: the defaults stand for its configuration."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def base(self) -> RunDirectory:
        return RunDirectory(Path.cwd())

    def check(self) -> None:
        """Nothing is known before it is loaded."""

    def config(self) -> Config:
        return load_config(None)

    def result(self) -> Result | None:
        return None

    def patches(self) -> Path | None:
        return None

    def facts(self) -> NetworkFacts:
        return saved_network.facts(self.path)

    def load(self) -> Any:
        return saved_network.load(self.path)


@dataclass(frozen=True)
class ExampleNetwork:
    """The small network that comes with the package."""

    def __str__(self) -> str:
        return "example"

    @property
    def base(self) -> RunDirectory:
        return RunDirectory(Path.cwd())

    def check(self) -> None:
        """It is always there."""

    def config(self) -> Config:
        return load_config(None, ("name=example", f"model.filters={example.FILTERS}"))

    def result(self) -> Result | None:
        return None

    def patches(self) -> Path | None:
        return None

    def facts(self) -> NetworkFacts:
        return NetworkFacts(labels="bayes", calibration="003", name="example")

    def load(self) -> Any:
        return example.network()


def newest_run(runs: Path = RUNS) -> RunDirectory:
    """The run under `runs` that finished last; raises InputError if there is none."""
    # An evaluation has a result, too, but no network.
    finished = [run for run in finished_runs(runs) if run.model.exists()]
    if not finished:
        raise InputError(
            f"no --run or --model given, and no finished run under {runs.absolute()}; "
            "expected a run directory of cloudmask-train or a saved network"
        )
    return max(finished, key=lambda run: run.model.stat().st_mtime)
