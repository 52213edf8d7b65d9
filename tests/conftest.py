"""What several tests share: synthetic scenes and their patch store, the commands, real data."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import machine

from cloudmask.scenes import synthetic

REPOSITORY = Path(__file__).resolve().parents[1]
SIZE = (512, 512)  # four patches
SLOW_FIXTURES = {"real_runs"}  # those that train
SHARE_RUNS = ("test_report", "test_report_alarms", "test_report_page")


def pytest_collection_modifyitems(items):
    """Mark each test by its folder and its cost, and run the longest first.

    Otherwise one of them would be left to run alone in the end.
    """
    for item in items:
        folder = item.path.parent.name
        item.add_marker(folder)
        if "shared" in item.fixturenames:
            item.add_marker("real_data")
        if folder != "unit" or SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")
    order = {"slurm": 0, "app": 1, "container": 2, "unit": 3}
    items.sort(key=lambda item: order[item.path.parent.name])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """For two processes: a file's tests stay together, and one process has the cluster to itself.

    So do the tests that share the report's runs. By names of files: xdist's own groups are marks
    that it writes where pytest 9.2 does not look any more.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = Path(nodeid.partition("::")[0])
            if file.parent.name == "slurm":
                return "slurm"
            return "report" if file.stem in SHARE_RUNS else str(file)

    return ByFile(config, log)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """Folder with six training and two inference scenes of 512 x 512 pixels."""
    folder = tmp_path_factory.mktemp("scenes")
    for part, count in (("training", 6), ("inference", 2)):
        (folder / part).mkdir()
        for number in range(count):
            path = folder / part / f"{synthetic.scene_name(part, number)}.hdf"
            synthetic.write_scene(path, synthetic.make_scene(part, number, SIZE, seed=5))
    return folder


@pytest.fixture(scope="session")
def store_path(scenes, tmp_path_factory):
    """Patch store of the training scenes: 24 patches."""
    from cloudmask.patches.prepare import PrepareOptions, prepare
    from cloudmask.scenes.finding import find_scenes

    path = tmp_path_factory.mktemp("store") / "patches.h5"
    prepare(find_scenes([scenes / "training"]), path, PrepareOptions(), workers=2)
    return path


@pytest.fixture(scope="session")
def shared():
    """Folder of real data beside the checkout; tests that need it are skipped without it."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


@pytest.fixture
def command():
    """Run an installed command in a process of its own; returns it completed, with its output."""

    def run(name, *arguments, cwd=None, env=None, timeout=600):
        return subprocess.run(
            [Path(sys.executable).with_name(name), *map(str, arguments)],
            cwd=cwd,
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def apptainer():
    """Real Apptainer, run as an ordinary user."""
    return machine.bring_apptainer()


@pytest.fixture(scope="session")
def cpu_image(apptainer):
    """The CPU image, built once for these inputs."""
    return machine.build_cpu_image(apptainer)
