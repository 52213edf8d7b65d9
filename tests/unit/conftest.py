"""What the tests of the report share: real runs, and the report of them."""

import shutil

import pytest
from support.reports import RUNS, SMALL

from cloudmask.config.settings import load_config
from cloudmask.report.collection import collect
from cloudmask.report.document import build, write
from cloudmask.report.notebook import notebook


@pytest.fixture(scope="session")
def real_runs(store_path, scenes, tmp_path_factory):
    """Four finished runs, two of them evaluated once more, with pictures and the other tiling."""
    from cloudmask.evaluate.job import EvaluationRequest, run_evaluation
    from cloudmask.scenes.finding import find_scenes
    from cloudmask.train.run import train

    folder = tmp_path_factory.mktemp("report") / "runs"
    places = find_scenes([scenes], part="inference")
    for name, settings in RUNS.items():
        config = load_config(None, (*SMALL, *settings))
        train(config, store_path, folder / name, places, ["test"])
    for name in ("stop-1", "stop-2"):
        request = EvaluationRequest(
            run=folder / name,
            model=None,
            scenes=[scenes],
            out=None,
            tiling="published",
            baselines=False,
            data=None,
            threshold=None,
            truth="bayes",
            nan="ignore",
            precision="float32",
            memory_limit=0.0,
            skip_bad=False,
            force=False,
            masks=False,
            pictures=True,
        )
        run_evaluation(request, ["test"])
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
    write(report, out, notebook([real_runs], out, True))
    return out, report
