"""What the tests of the report share: real runs, and the report of them."""

import shutil

import pytest
from support.reports import RUNS, SMALL

from cloudmask.config.settings import load_config
from cloudmask.report.collection import collect
from cloudmask.report.document import build
from cloudmask.report.notebook import notebook
from cloudmask.report.output import write_report


@pytest.fixture(scope="session")
def real_runs(store_path, scenes, tmp_path_factory):
    """Four finished runs, two of them evaluated once more, with pictures and the other tiling."""
    from cloudmask.evaluate.job import EvaluationRequest, run_evaluation
    from cloudmask.evaluate.sources import RunNetwork
    from cloudmask.record.run_directory import RunDirectory
    from cloudmask.scenes.finding import find_scenes
    from cloudmask.train.run import TrainingRequest, train

    folder = tmp_path_factory.mktemp("report") / "runs"
    places = find_scenes([scenes], part="inference")
    for name, settings in RUNS.items():
        config = load_config(None, (*SMALL, *settings))
        train(TrainingRequest(config, store_path, RunDirectory(folder / name), places, ["test"]))
    for name in ("stop-1", "stop-2"):
        request = EvaluationRequest(
            source=RunNetwork(RunDirectory(folder / name)),
            scenes=[scenes],
            command=["test"],
            tiling="published",
            precision="float32",
            masks=False,
        )
        run_evaluation(request)
    return folder


@pytest.fixture
def runs(real_runs, tmp_path):
    """A copy of the runs, to be changed."""
    return shutil.copytree(real_runs, tmp_path / "runs")


@pytest.fixture(scope="session")
def written(real_runs, tmp_path_factory):
    """The report's folder, and the report."""
    out = tmp_path_factory.mktemp("written") / "report"
    report = build(collect([real_runs]))
    write_report(report, out, notebook([real_runs], out, True))
    return out, report
