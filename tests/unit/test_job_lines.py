"""The exact command lines of schedulers, hosts and containers, against tests/golden."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support import golden
from support.sites import LSF, SSH

from cloudmask.commands import grid

TESTS = Path(__file__).resolve().parents[1]
SLURM = TESTS.parent / "slurm"
SITES = sorted(path.stem for path in (SLURM / "sites").glob("*.yaml"))


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder as a user submits from: job scripts, scenes, an experiment of three rows."""
    (tmp_path / "slurm").symlink_to(SLURM)
    for part in ("training", "inference"):
        (tmp_path / "data" / part).mkdir(parents=True)
    (tmp_path / "e.yaml").write_text("name: e\nrepeats: 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{TESTS / 'stand-ins'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("SBATCH_ACCOUNT", "group")
    monkeypatch.delenv("CLOUDMASK_TEST", raising=False)
    return tmp_path


@pytest.fixture
def printed(capsys, monkeypatch):
    """What cloudmask-grid prints, each option on a line of its own."""

    def printed(*arguments):
        monkeypatch.setattr(sys, "argv", ["cloudmask-grid", *map(str, arguments), "--dry-run"])
        code = grid.main()
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return folded(captured.out)

    return printed


def folded(lines):
    """Command lines with one option a line, still to be pasted into a shell."""
    return "".join(fold(line) for line in lines.splitlines())


def fold(line):
    """The same for one line such as `train=$(sbatch …)` or `sbatch …`."""
    name, opened, command = line.partition("=$(")
    text = f"# {name}\n" if opened else ""
    for number, word in enumerate(shlex.split(command.removesuffix(")") if opened else line)):
        # The number of the job that is waited for is the shell's to put in.
        written = word if word.startswith("--dependency=") else shlex.quote(word)
        starts = word.startswith("-") or written.endswith(".sbatch")
        text += " \\\n  " if number and starts else " " if number else ""
        text += written
    return text + "\n"


@pytest.mark.parametrize("site", SITES)
def test_sbatch_lines_of_every_site(checkout, printed, site):
    """For each GPU: prepare, train, evaluate, and scaling over two nodes with four GPUs each."""
    from cloudmask.config.yaml_model import read_yaml

    text = ""
    for gpu in read_yaml(SLURM / "sites" / f"{site}.yaml")["gpus"]:
        where = ("--site", site, "--gpu", gpu)
        text += f"## {gpu}\n\n" + printed("chain", "e.yaml", *where)
        text += "# train on two nodes with four GPUs each\n"
        text += printed("submit", "e.yaml", *where, "--gpus", 4, "--nodes", 2)
        text += "# scaling\n"
        text += printed("batch", "slurm/scaling.sbatch", *where, "--gpus", 4, "--nodes", 2)
        text += "\n"
    golden.check(f"sbatch-{site}.txt", text)


def test_sbatch_lines_of_whole_nodes(checkout, printed):
    """Whole nodes and the site's own command for its caches; preparing patches needs neither."""
    site = (SLURM / "sites" / "generic.yaml").read_text()
    own = "exclusive: true\nclear_caches: sudo -n /usr/local/sbin/drop_caches\n"
    (checkout / "whole.yaml").write_text(site + own)
    text = printed("chain", "e.yaml", "--site", "whole.yaml", "--gpu", "v100")
    golden.check("sbatch-exclusive.txt", text)


def test_bsub_lines(checkout, printed):
    (checkout / "lsf.yaml").write_text(LSF)
    text = "# with a GPU\n" + printed("submit", "e.yaml", "--site", "lsf.yaml", "--gpu", "v100")
    text += "# some rows, without\n"
    text += printed("submit", "e.yaml", "--site", "lsf.yaml", "--index", "1,3")
    golden.check("bsub.txt", text)


def test_ssh_lines(checkout, printed, monkeypatch, capsys):
    (checkout / "ssh.yaml").write_text(SSH)
    (checkout / "e.yaml").write_text("name: e\nparameters: {gpu: [a100, v100]}\n")
    arguments = ["cloudmask-grid", "submit", "e.yaml", "--site", "ssh.yaml", "--dry-run"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert grid.main() == 0
    # As it is printed: the script for the other side is one word of several lines.
    golden.check("ssh.txt", capsys.readouterr().out)


def test_local_lines(checkout, printed):
    (checkout / "p.h5").touch()
    text = printed("submit", "e.yaml", "--data", "p.h5", "--scenes", "data/inference")
    golden.check("local.txt", text.replace(shlex.quote(sys.executable), "python"))


class Shell:
    """A shell with hardly any environment, the stand-in of Apptainer first on its PATH."""

    def __init__(self, folder, *names):
        self.folder = folder
        (folder / "bin").mkdir()
        for name in names:
            (folder / "bin" / name).symlink_to(TESTS / "stand-ins/apptainer")
        for image in ("cloudmask.sif", "patches.ext3"):
            (folder / image).touch()
        (folder / "patches.ext3.json").write_text("{}\n")

    def calls(self, script, **variables):
        """Run the script; what it made of the container runtime, with the folder as FOLDER."""
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        clean = {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "USER": "ada", "LANG": "C.UTF-8"}
        clean |= {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.folder,
            env=clean | {"CALLS": str(calls)} | variables,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return calls.read_text().replace(str(self.folder), "FOLDER")


@pytest.mark.parametrize("runtime", ["apptainer", "singularity"])
def test_command_line_of_the_container(checkout, runtime):
    shell = Shell(checkout, runtime)
    chosen = {"CLOUDMASK_RUNTIME": runtime}
    source = "source slurm/lib/container.sh\n"
    command = "cloudmask-train --config 'my config.yaml'"
    text = "## on a CPU\n\n"
    text += shell.calls(
        f"{source}container::exec cloudmask.sif {command}", CLOUDMASK_GPU="no", **chosen
    )
    text += "\n## on a GPU, with more of the host and variables that stay outside\n\n"
    options = "--bind /scratch:/data:ro --env A='1,2 3' --option --overlay --option p.ext3:ro"
    text += shell.calls(
        f"{source}container::exec cloudmask.sif {options} {command}",
        CLOUDMASK_GPU="yes",
        CUDA_VISIBLE_DEVICES="1",
        SLURM_JOB_ID="12",
        PYTHONPATH="/home/ada/lib",
        LD_PRELOAD="",
        **chosen,
    )
    golden.check(f"{runtime}.txt", text)


@pytest.mark.parametrize("job", ["train", "evaluate", "prepare", "clean"])
def test_what_a_job_runs_in_the_image(checkout, job):
    """Without Slurm, and with every variable set that a site could set."""
    shell = Shell(checkout, "apptainer")
    (checkout / "local").mkdir()
    text = shell.calls(
        f"bash slurm/{job}.sbatch",
        CLOUDMASK_GPU="no",
        CLOUDMASK_IMAGE="cloudmask.sif",
        CLOUDMASK_DEVICE="cpu",
        CLOUDMASK_OVERLAY="patches.ext3",
        CLOUDMASK_SCENES="",
        CLOUDMASK_LOCAL=str(checkout / "local"),
        CLOUDMASK_MODULES="",
        CLOUDMASK_CLEAR_CACHES="store",
    )
    golden.check(f"job-{job}.txt", text)
