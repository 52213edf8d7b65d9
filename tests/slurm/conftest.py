"""One cluster for all tests of job scripts, with the real CPU image and a real overlay."""

import pytest
from support import cluster as slurm


@pytest.fixture(scope="session")
def cluster(apptainer, cpu_image, store_path, scenes):
    with slurm.running(cpu_image, apptainer.home, store_path, scenes / "inference") as started:
        yield started


@pytest.fixture(autouse=True)
def tidy(cluster):
    """Nothing runs and nothing is left on any node's own disk after a test."""
    yield
    cluster.idle()
    left = cluster.left()
    cluster.clear()
    assert left == []
