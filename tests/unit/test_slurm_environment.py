"""What a job works by after a plain sbatch, when only the site is named: lib/environment.sh."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
GRID = Path(sys.executable).with_name("cloudmask-grid")
TOOLS = (
    "bash",
    "cat",
    "dirname",
    "env",
    "grep",
    "hostname",
    "id",
    "mkdir",
    "realpath",
    "sed",
    "sort",
)
SITE = """\
modules:
  - runtime/1.2       # on lines of their own, as YAML has it
  - 'compiler'
gpus: {v100: {gres: "gpu:v100", image: $HOME/other.sif}, cpu: {}}
local: [$NOWHERE/scratch, $HOME/scratch]
overlay: $HOME/patches.ext3
"""
# As on a cluster: the runtime is not there before its module is loaded.
MODULE = """\
module() {
  echo "$*" >>"$HOME/modules"
  [[ $2 != "$PROVIDES" ]] || PATH=$HOME/runtime:$PATH
}
export -f module
"""
SCRIPT = MODULE + "source slurm/lib/job.sh\nsignals::catch\nenvironment::load\nenv | sort\n"
SCRIPT += 'echo "binds=${ENVIRONMENT_BINDS[*]-}"\n'


@pytest.fixture
def job(tmp_path):
    """Run the script in a folder with a site file; returns it completed."""
    (tmp_path / "slurm").symlink_to(TESTS.parent / "slurm")
    (tmp_path / "site.yaml").write_text(SITE)
    (tmp_path / "cloudmask.sif").touch()
    for folder in ("bin", "runtime", "scratch"):
        (tmp_path / folder).mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    (tmp_path / "runtime/apptainer").symlink_to(TESTS / "stand-ins/apptainer")

    def job(provides="apptainer", **variables):
        clean = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "PROVIDES": provides}
        clean |= {"CALLS": str(tmp_path / "calls"), "GRID": str(GRID), "CLOUDMASK_GPU": "no"}
        return subprocess.run(
            [shutil.which("bash"), "-euc", SCRIPT],
            cwd=tmp_path,
            env=clean | {"CLOUDMASK_SITE": "site.yaml"} | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return job


def test_the_container_reads_the_site_file(job, tmp_path):
    done = job()
    assert done.returncode == 0, done.stderr
    found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert found["CLOUDMASK_IMAGE"] == f"{tmp_path}/other.sif"
    assert found["CLOUDMASK_OVERLAY"] == f"{tmp_path}/patches.ext3"
    assert found["CLOUDMASK_DEVICE"] == "gpu"
    assert found["CLOUDMASK_MODULES"] == "runtime/1.2 compiler"
    assert f"image {tmp_path}/other.sif" in done.stderr
    assert "node-local $NOWHERE/scratch: not set here" in done.stderr
    # First what starts the container, then what the site asks for.
    modules = (tmp_path / "modules").read_text().splitlines()
    assert modules == ["load apptainer", "load runtime/1.2 compiler"]
    assert (tmp_path / "calls").read_text().count("cloudmask-grid site site.yaml") == 1


def test_variables_win_over_the_site_file(job, tmp_path):
    done = job("my-runtime", CLOUDMASK_MODULES="my-runtime", CLOUDMASK_OVERLAY="mine.ext3")
    assert done.returncode == 0, done.stderr
    assert "CLOUDMASK_OVERLAY=mine.ext3\n" in done.stdout
    assert "CLOUDMASK_DEVICE=gpu\n" in done.stdout
    assert (tmp_path / "modules").read_text() == "load my-runtime\n"


def test_what_submit_exports_needs_no_file(job, tmp_path):
    """As all variables are there, nothing is read and no module but those is loaded."""
    names = ("IMAGE", "DEVICE", "OVERLAY", "SCENES", "LOCAL", "MODULES", "CLEAR_CACHES")
    done = job("none", **{f"CLOUDMASK_{name}": "" for name in names})
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "calls").exists() and not (tmp_path / "modules").exists()


def test_a_site_file_elsewhere_can_be_read_by_the_run(job, tmp_path_factory):
    site = tmp_path_factory.mktemp("sites") / "mine.yaml"
    site.write_text(SITE)
    names = ("IMAGE", "DEVICE", "OVERLAY", "SCENES", "LOCAL", "MODULES", "CLEAR_CACHES")
    done = job(**{f"CLOUDMASK_{name}": "" for name in names}, CLOUDMASK_SITE=str(site))
    assert done.returncode == 0, done.stderr
    assert f"--bind {site}\n" in done.stdout


def test_no_runtime_is_one_line(job):
    done = job("something-else")
    assert done.returncode == 2
    assert (
        "no apptainer or singularity on PATH; name its module in CLOUDMASK_MODULES" in done.stderr
    )


def test_an_unknown_site_ends_the_job(job):
    done = job(CLOUDMASK_SITE="nowhere")
    assert done.returncode == 2
    assert "error: --site nowhere: no such file" in done.stderr
