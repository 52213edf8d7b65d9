"""Who starts rows: this machine's GPUs, LSF's stand-in, a real sshd, Slurm's command line."""

import csv
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.experiments import experiment, rows_by_state

from cloudmask.experiments import plan
from cloudmask.record.run_directory import RunDirectory
from cloudmask.system.signals import StopRequest

GRID = Path(sys.executable).with_name("cloudmask-grid")
TESTS = Path(__file__).resolve().parents[1]
WITH_STAND_INS = f"{TESTS / 'stand-ins'}{os.pathsep}{os.environ['PATH']}"


def test_rows_share_the_gpus(tmp_path, monkeypatch):
    """Each row sees one card; the interpreter is a stand-in, since there is no GPU here."""
    from cloudmask.experiments.executors.executor import RowInputs, SubmitRequest
    from cloudmask.experiments.executors.local import Local
    from cloudmask.experiments.experiment import load_experiment

    frozen = plan.freeze(load_experiment(experiment(tmp_path, "  seed: 1..4\n")), tmp_path / "runs")
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nsleep 0.4\necho "$CUDA_VISIBLE_DEVICES"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    executor = Local("local", SubmitRequest("e.yaml", RowInputs(str(fake))))
    codes = executor.start(frozen, executor.launches(frozen, frozen.rows), StopRequest())
    assert set(codes.values()) == {0}
    logs = [(frozen.folder / f"logs/{n:04d}.log").read_text().strip() for n in range(1, 5)]
    assert sorted(logs) == ["GPU-a", "GPU-a", "GPU-b", "GPU-b"]


def test_lsf_array_by_a_stand_in(grid, tmp_path, store_path):
    experiment(tmp_path, "  seed: [1, 2]\n  gpu: v100\n")
    lsf_site(tmp_path, store_path)
    dry = grid("submit", "e.yaml", "--site", "summit.yaml", "--dry-run", PATH=WITH_STAND_INS)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.startswith(
        "bsub -J 'e[1-2]' -W 2:00 -wa USR1 -wt 10 -Q 75 -q batch -P abc123 "
        "-gpu num=1:gmodel=TeslaV100_SXM2_16GB -o runs/e/logs/%J-%I.log "
    )
    assert not (tmp_path / "runs").exists()
    # A list of numbers that is too long for LSF goes in several arrays.
    experiment(tmp_path, "  seed: 1..400\n  gpu: v100\n")
    odd = ",".join(map(str, range(1, 400, 2)))
    words_of = ("--site", "summit.yaml", "--index", odd, "--dry-run")
    done = grid("submit", "e.yaml", *words_of, PATH=WITH_STAND_INS)
    names = [shlex.split(line)[2] for line in done.stdout.splitlines()]
    assert len(names) > 2 and all(len(name) <= 255 for name in names)
    assert ",".join(name.removeprefix("e[").removesuffix("]") for name in names) == odd
    experiment(tmp_path, "  seed: [1, 2]\n  gpu: k80\n")
    wrong = grid("submit", "e.yaml", "--site", "summit.yaml", PATH=WITH_STAND_INS)
    assert wrong.returncode == 2 and "k80: not in the site's gpus; known: v100" in wrong.stderr


def lsf_site(tmp_path, store_path):
    (tmp_path / "summit.yaml").write_text(
        f"executor: lsf\nqueue: batch\nproject: abc123\ntime: '2:00'\n"
        f"gpus: {{v100: TeslaV100_SXM2_16GB}}\ncommand: {GRID}\ndata: {store_path}\n"
    )


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """A real sshd on loopback; the path of the client's configuration, which names it `node`."""
    folder = tmp_path_factory.mktemp("sshd") / "server"
    script = ["bash", TESTS / "env/sshd.sh"]
    done = subprocess.run([*script, "start", folder], capture_output=True, text=True)
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    yield folder / "config"
    subprocess.run([*script, "stop", folder], check=True)


def ssh_site(tmp_path, config, store_path, *hosts):
    lines = [f"executor: ssh\noptions: [-F, {config}]\nhosts:"]
    for number, host in enumerate(hosts, 1):
        folder = tmp_path / f"far away {number}"
        folder.mkdir()
        lines.append(f"  - {{host: {host}, folder: {folder}, command: {GRID}, data: {store_path}}}")
    (tmp_path / "lab.yaml").write_text("\n".join(lines))


@pytest.mark.long
def test_one_file_over_three_sites(grid, command, tmp_path, store_path, sshd):
    """This machine, LSF and a host by ssh, side by side; the report takes all of it."""
    experiment(tmp_path, "  site: [local, summit.yaml, lab.yaml]\n  gpu: v100\n")
    lsf_site(tmp_path, store_path)
    ssh_site(tmp_path, sshd, store_path, "node")
    words_of = ("e.yaml", "--data", store_path)
    none = grid("submit", "e.yaml", PATH=WITH_STAND_INS)
    assert none.returncode == 2 and "--data FILE.h5: expected for rows on this" in none.stderr
    assert not (tmp_path / "runs").exists()  # nothing is frozen, nor handed to LSF
    done = grid("submit", *words_of, PATH=WITH_STAND_INS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bsub -J 'e[2]'" in done.stdout and "Job <4711> is submitted" in done.stdout
    # Neither of those that this process attends to waits for the other.
    lines = done.stdout.splitlines()
    started = [lines.index("row 1: started"), lines.index("row 3: started on node")]
    ended = [lines.index("row 1: finished"), lines.index("row 3: finished")]
    assert max(started) < min(ended)
    assert rows_by_state(grid("status", "e.yaml")) == {"finished": {1, 2, 3}}
    noted = [json.loads(line) for line in (tmp_path / "runs/e/submitted.jsonl").open()]
    assert {each["site"] for each in noted} == {"local", "summit.yaml", "lab.yaml"}
    assert (tmp_path / "far away 1/runs/e").is_dir()
    done = command("cloudmask-report", "runs/e", "--out", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "report/tables/runs.csv").open() as file:
        assert [row["source"] for row in csv.DictReader(file)].count("own") == 3


def test_rows_over_ssh_come_back(grid, tmp_path, store_path, sshd):
    """Two folders on a real sshd and a host that does not answer, whose rows the others take."""
    experiment(tmp_path, "  seed: [1, 2]\n")
    ssh_site(tmp_path, sshd, store_path, "nowhere.invalid", "node", "node")
    done = grid("submit", "e.yaml", "--site", "lab.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nowhere.invalid: " in done.stderr
    assert rows_by_state(grid("status", "e.yaml")) == {"finished": {1, 2}}
    for run in tmp_path.glob("runs/e/0*"):
        assert RunDirectory(run).read_result().status == "success"
        assert (run / "model.keras").exists() and not (run / ".lock").exists()
    far = [list(tmp_path.glob(f"far away {n}/runs/e/0*/result.json")) for n in (2, 3)]
    assert sorted(map(len, far)) == [1, 1]


@pytest.mark.long
def test_a_row_over_ssh_saves_when_the_connection_ends(grid, tmp_path, store_path, sshd):
    experiment(tmp_path, "", epochs=30)
    ssh_site(tmp_path, sshd, store_path, "node")
    executor = subprocess.Popen(
        [GRID, "submit", "e.yaml", "--site", "lab.yaml"], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    far = tmp_path / "far away 1/runs/e/0001"
    while not (far / "history.csv").exists() and executor.poll() is None:
        time.sleep(0.05)
    executor.kill()
    executor.wait()
    while (far / ".lock").exists():
        time.sleep(0.05)
    # What was fetched in the meantime names a process that may take a moment to end.
    while "running" in rows_by_state(grid("status", "e.yaml")):
        time.sleep(0.5)
    assert '"key": "cut_off"' in (far / "mlperf.log").read_text()
    done = grid("rerun", "e.yaml", "--site", "lab.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert RunDirectory(tmp_path / "runs/e/0001").read_result().training.attempts == 2


def test_rows_over_ssh_share_the_gpus_of_their_kind(grid, tmp_path, sshd):
    """Each row sees one card of a host that has the GPU it asks for; the program is a stand-in."""
    fake = tmp_path / "fake"
    fake.write_text(
        '#!/bin/sh\ncd "$2/000$4_"*"_$4"; echo "$CUDA_VISIBLE_DEVICES" >card; sleep 1\n'
    )
    fake.chmod(0o755)
    (tmp_path / "lab.yaml").write_text(
        f"executor: ssh\noptions: [-F, {sshd}]\nhosts:\n"
        f"  - {{host: other, folder: {tmp_path}/o, data: p.h5, gpu: a100}}\n"
        f"  - {{host: node, folder: {tmp_path}/n, data: p.h5, gpu: v100, devices: [2, 3],"
        f" command: {fake}}}\n"
    )
    experiment(tmp_path, "  seed: [1, 2]\n  gpu: v100\n")
    for number in (1, 2):
        (tmp_path / f"n/runs/e/000{number}_seed_{number}").mkdir(parents=True)
    done = grid("submit", "e.yaml", "--site", "lab.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    cards = [path.read_text().strip() for path in tmp_path.glob("runs/e/*/card")]
    assert sorted(cards) == ["2", "3"]
    experiment(tmp_path, "  gpu: k80\n")
    done = grid("submit", "e.yaml", "--site", "lab.yaml", "--dry-run")
    assert done.returncode == 2 and "row 3: no host of lab.yaml has gpu k80" in done.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("executor: pbs", "executor: 'pbs'; expected one of slurm, lsf, ssh"),
        ("executor: ssh", "hosts: is missing"),
        ("executor: ssh\nhosts: [{host: -oProxyCommand=x, folder: a, data: b}]", "hosts.0.host"),
        ("executor: lsf\ntime: soon", "time: String should match"),
        ("executor: lsf", "data: no patch store"),
    ],
)
def test_a_wrong_site_file_is_reported(grid, tmp_path, text, expected):
    experiment(tmp_path, "")
    (tmp_path / "s.yaml").write_text(text)
    done = grid("submit", "e.yaml", "--site", "s.yaml")
    assert done.returncode == 2
    assert expected in done.stderr and "Traceback" not in done.stderr


def test_slurm_array_is_the_sites(grid, tmp_path):
    """The exact line; a GPU that a row names wins over --gpu."""
    experiment(tmp_path, "  seed: 1..6\n  gpu: v100\n")
    greene = TESTS.parent / "slurm/sites/greene.yaml"
    done = grid(
        "submit", "e.yaml", "--site", greene, "--index", "1-3,6", "--dry-run", PATH=WITH_STAND_INS
    )
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[0] == "sbatch" and "--gres=gpu:v100:1" in words and len(words) > 6
    assert words[-4:] == ["--job-name=e", "--array=1-3,6", "slurm/train.sbatch", "e.yaml"]
    (tmp_path / "e.yaml").write_text((tmp_path / "e.yaml").read_text().replace("v100", "tpu"))
    done = grid("submit", "e.yaml", "--site", greene, "--dry-run", PATH=WITH_STAND_INS)
    assert done.returncode == 2 and "tpu: not at this site; expected one of v100" in done.stderr


def test_rows_beyond_slurms_largest_array_are_refused(grid, tmp_path):
    experiment(tmp_path, "  seed: 1..6\n")
    words = ("--site", TESTS.parent / "slurm/sites/generic.yaml", "--gpu", "v100", "--dry-run")
    done = grid("submit", "e.yaml", *words, PATH=WITH_STAND_INS, MAX_ARRAY_SIZE="6")
    assert done.returncode == 2 and "row 6: arrays end at 5 here" in done.stderr
    done = grid("submit", "e.yaml", *words, PATH=WITH_STAND_INS, MAX_ARRAY_SIZE="7")
    assert done.returncode == 0 and "--array=1-6" in done.stdout
