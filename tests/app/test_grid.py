"""Experiments over many runs, with real processes: local, ssh to a real sshd, LSF's stand-in."""

import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import free_ports

from cloudmask.experiments import plan
from cloudmask.record.result import read_result

GRID = Path(sys.executable).with_name("cloudmask-grid")
STAND_INS = Path(__file__).resolve().parents[1] / "stand-ins"
SMALL = "  model.filters: 2\n  training.batch_size: 8\n  training.epochs: 1\n"


@pytest.fixture
def grid(tmp_path):
    """Run cloudmask-grid in tmp_path; returns the completed process."""

    def grid(*arguments, **environment):
        return subprocess.run(
            [GRID, *map(str, arguments)],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return grid


def experiment(folder, text):
    path = folder / "e.yaml"
    path.write_text(f"name: e\nparameters:\n{SMALL}{text}")
    return path


def words(done):
    """Row numbers by state, from the table of `status`."""
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines()[1:-1]:
        index, word = re.match(r"(\d+) +(cut off|\w+)", line).groups()
        found.setdefault(word, set()).add(int(index))
    return found


def test_grid_of_twelve_killed_in_the_middle(grid, tmp_path, store_path):
    experiment(tmp_path, "  training.learning_rate: 1e-4..1e-2 log 3\n  seed: [1, 2]\nrepeats: 2")
    submit = [GRID, "submit", "e.yaml", "--data", store_path, "--jobs", "2"]
    executor = subprocess.Popen(submit, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    finished, killed = 0, []
    for line in executor.stdout:
        finished += "finished" in line
        if finished == 3:
            break
    # The node dies: executor and rows at once, without a word.
    children = Path(f"/proc/{executor.pid}/task/{executor.pid}/children")
    killed = [executor.pid, *map(int, children.read_text().split())]
    assert len(killed) in (2, 3)
    os.kill(executor.pid, signal.SIGSTOP)  # so that it cannot note anything
    for pid in reversed(killed):
        os.kill(pid, signal.SIGKILL)
    executor.wait()
    executor.stdout.close()
    time.sleep(0.5)

    before = words(grid("status", "e.yaml"))
    assert len(before["finished"]) in (3, 4)
    assert before["lost"] == set(range(1, 13)) - before["finished"]
    missing = grid("missing", "e.yaml").stdout.strip()
    assert set(plan.parse_ranges(missing)) == before["lost"]
    results = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/e/*/result.json")}

    again = grid("rerun", "e.yaml", "--data", store_path, "--jobs", "2")
    assert again.returncode == 0, again.stdout + again.stderr
    assert words(grid("status", "e.yaml")) == {"finished": set(range(1, 13))}
    assert grid("missing", "e.yaml").stdout == ""
    assert all(path.stat().st_mtime_ns == time for path, time in results.items())
    # Every directory tells what it is, and was computed with that.
    frozen = plan.load(tmp_path / "runs/e")
    for row in frozen.rows:
        result = read_result(frozen.run(row))
        assert result["experiment"]["seed"] == row.parameters["seed"]
        rate = result["experiment"]["training"]["learning_rate"]
        assert rate == row.parameters["training.learning_rate"]
        assert json.loads((frozen.run(row) / "row.json").read_text())["index"] == row.index
    done = grid("plan", "e.yaml")
    assert "12 rows, 0 of them to be run" in done.stdout


def test_states_with_their_reasons_and_rerun_of_one(grid, tmp_path, store_path):
    experiment(tmp_path, "  training.learning_rate: [1e-3, 1e-2]\n")
    assert words(grid("status", "e.yaml")) == {"planned": {1, 2}}
    assert not (tmp_path / "runs").exists()
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no patch store")
    done = grid("submit", "e.yaml", "--data", bad)
    assert done.returncode == 1 and "2 rows failed (1 first)" in done.stderr
    done = grid("status", "e.yaml")
    assert words(done) == {"failed": {1, 2}}
    assert "bad.h5" in done.stdout
    assert grid("submit", "e.yaml", "--data", store_path).stdout.startswith("e: no row is planned")

    executor = subprocess.Popen(
        [GRID, "rerun", "e.yaml", "--data", store_path, "--index", "2"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    seen = set()
    while executor.poll() is None:
        seen |= set(words(grid("status", "e.yaml")))
    executor.stdout.close()
    assert executor.returncode == 0
    assert {"failed", "running"} <= seen
    assert words(grid("status", "e.yaml")) == {"failed": {1}, "finished": {2}}
    # A finished row is begun anew only when asked for, and what it was is kept.
    done = grid("rerun", "e.yaml", "--data", store_path, "--index", "2")
    assert done.returncode == 2 and "this row is finished (--fresh" in done.stderr
    done = grid("rerun", "e.yaml", "--data", store_path, "--index", "2", "--fresh")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("runs/e/0002*/result.json"))) == 2


def test_asked_to_stop_the_rows_save(grid, tmp_path, store_path):
    experiment(tmp_path, "  training.epochs: 500\n  early_stopping.enabled: false\n".lstrip("\n"))
    text = (tmp_path / "e.yaml").read_text().replace("  training.epochs: 1\n", "")
    (tmp_path / "e.yaml").write_text(text + "repeats: 2\n")
    executor = subprocess.Popen(
        [GRID, "submit", "e.yaml", "--data", store_path],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    history = tmp_path / "runs/e/0001_repeat_1/history.csv"
    while not history.exists() and executor.poll() is None:
        time.sleep(0.05)
    done = grid("status", "e.yaml")
    assert re.search(r"1 +running +1 +epoch \d+ of 500, ends by \d{4}-", done.stdout)
    assert words(done) == {"running": {1}, "queued": {2}}
    executor.send_signal(signal.SIGTERM)
    _, errors = executor.communicate(timeout=60)
    assert executor.returncode == 75 and "cut off: runs/e" in errors
    done = grid("status", "e.yaml")
    assert words(done) == {"cut off": {1}, "lost": {2}}
    assert "epochs done" in done.stdout


def test_rows_share_the_gpus(tmp_path, monkeypatch):
    """Each row sees one card; the interpreter is a stand-in, since there is no GPU here."""
    from cloudmask.experiments.executors import Work, local
    from cloudmask.experiments.experiment import load_experiment

    frozen = plan.freeze(load_experiment(experiment(tmp_path, "  seed: 1..4\n")), tmp_path / "runs")
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nsleep 0.4\necho "$CUDA_VISIBLE_DEVICES"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    local.submit(frozen, frozen.rows, Work(str(fake)), None, False)
    logs = [(frozen.folder / f"logs/{n:04d}.log").read_text().strip() for n in range(1, 5)]
    assert sorted(logs) == ["GPU-a", "GPU-a", "GPU-b", "GPU-b"]


def test_ten_thousand_rows_are_listed_at_once(grid, tmp_path):
    (tmp_path / "big.yaml").write_text("name: big\nparameters:\n  seed: 1..10000\n")
    from cloudmask.experiments.experiment import load_experiment

    frozen = plan.freeze(load_experiment(tmp_path / "big.yaml"), tmp_path / "runs")
    for row in frozen.rows[:9000]:
        run = frozen.run(row)
        run.mkdir()
        for name in ("config.yaml", "row.json", "mlperf.log", "history.csv"):
            (run / name).touch()
        if row.index % 3 == 0:
            (run / "failure.json").write_text('{"reason": "out of memory"}')
        else:
            (run / "result.json").touch()
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        done = grid("status", "runs/big")
        seconds.append(time.perf_counter() - began)
    assert done.stdout.endswith("10000 rows: 1000 planned, 6000 finished, 3000 failed\n")
    assert min(seconds) < 2
    began = time.perf_counter()
    missing = grid("missing", "runs/big").stdout
    assert missing.startswith("3,6,9,") and missing.endswith(",9000-10000\n")
    assert time.perf_counter() - began < 4


def test_lsf_array_by_a_stand_in(grid, tmp_path, store_path):
    experiment(tmp_path, "  seed: [1, 2]\n  gpu: v100\n")
    site = tmp_path / "summit.yaml"
    site.write_text(
        f"executor: lsf\nqueue: batch\nproject: abc123\ntime: '2:00'\n"
        f"gpus: {{v100: TeslaV100_SXM2_16GB}}\ncommand: {GRID}\ndata: {store_path}\n"
    )
    path = f"{STAND_INS}{os.pathsep}{os.environ['PATH']}"
    dry = grid("submit", "e.yaml", "--site", "summit.yaml", "--dry-run", PATH=path)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.startswith(
        "bsub -J 'e[1-2]' -W 2:00 -wa USR1 -wt 10 -Q 75 -q batch -P abc123 "
        "-gpu num=1:gmodel=TeslaV100_SXM2_16GB -o runs/e/logs/%J-%I.log "
    )
    assert not (tmp_path / "runs").exists()
    done = grid("submit", "e.yaml", "--site", "summit.yaml", PATH=path)
    assert done.returncode == 0, done.stderr
    assert "Job <4711> is submitted" in done.stdout
    assert words(grid("status", "e.yaml")) == {"finished": {1, 2}}
    assert json.loads((tmp_path / "runs/e/submitted.jsonl").read_text())["job"] == "4711"
    wrong = grid("submit", "e.yaml", "--site", "summit.yaml", "--gpu", "k80", PATH=path)
    assert "no row is planned" in wrong.stdout


@pytest.fixture
def sshd(tmp_path):
    """A real sshd on loopback; the path of the client's configuration, which names it `node`."""
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(program).exists() or not shutil.which("ssh"):
        pytest.skip("no sshd: apt-get install openssh-server brings it")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host", "user"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(keygen, check=True)
    (port,) = free_ports(1)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\n"
        f"AuthorizedKeysFile {folder}/user.pub\nPidFile {folder}/pid\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n"
        "PermitRootLogin prohibit-password\n"
    )
    (folder / "config").write_text(
        f"Host node\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
        f"  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  StrictHostKeyChecking no\n  UserKnownHostsFile {folder}/known\n  LogLevel ERROR\n"
    )
    log = (folder / "log").open("w")
    server = subprocess.Popen([program, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    client = ["ssh", "-F", folder / "config", "-o", "BatchMode=yes", "node", "true"]
    until = time.monotonic() + 10
    while subprocess.run(client, capture_output=True).returncode:
        if server.poll() is not None or time.monotonic() > until:
            server.kill()
            pytest.skip(f"sshd does not run here: {(folder / 'log').read_text()[-300:]}")
        time.sleep(0.1)
    yield folder / "config"
    server.terminate()
    server.wait()
    log.close()


def ssh_site(tmp_path, config, store_path, *hosts):
    lines = [f"executor: ssh\noptions: [-F, {config}]\nhosts:"]
    for number, host in enumerate(hosts, 1):
        folder = tmp_path / f"far away {number}"
        folder.mkdir()
        lines.append(f"  - {{host: {host}, folder: {folder}, command: {GRID}, data: {store_path}}}")
    (tmp_path / "lab.yaml").write_text("\n".join(lines))


def test_rows_over_ssh_come_back(grid, tmp_path, store_path, sshd):
    """Two places on a real sshd and a host that does not answer, whose rows the others take."""
    experiment(tmp_path, "  seed: [1, 2, 3]\n")
    ssh_site(tmp_path, sshd, store_path, "node", "node", "nowhere.invalid")
    done = grid("submit", "e.yaml", "--site", "lab.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nowhere.invalid: " in done.stdout
    assert words(grid("status", "e.yaml")) == {"finished": {1, 2, 3}}
    for run in tmp_path.glob("runs/e/0*"):
        assert read_result(run)["status"] == "success"
        assert (run / "model.keras").exists() and not (run / ".lock").exists()
    far = [list(tmp_path.glob(f"far away {n}/runs/e/0*/result.json")) for n in (1, 2)]
    assert sorted(map(len, far)) == [1, 2]


def test_a_row_over_ssh_saves_when_the_connection_ends(grid, tmp_path, store_path, sshd):
    experiment(tmp_path, "")
    text = (tmp_path / "e.yaml").read_text().replace("epochs: 1\n", "epochs: 30\n")
    (tmp_path / "e.yaml").write_text(text)
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
    assert '"key": "cut_off"' in (far / "mlperf.log").read_text()
    done = grid("rerun", "e.yaml", "--site", "lab.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert read_result(tmp_path / "runs/e/0001")["training"]["attempts"] == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("executor: pbs", "executor: 'pbs'; expected one of slurm, lsf, ssh"),
        ("executor: ssh", "hosts: Field required"),
        ("executor: ssh\nhosts: [{host: -oProxyCommand=x, folder: a, data: b}]", "hosts.0.host"),
        ("executor: lsf\ntime: soon", "time: String should match"),
        ("executor: lsf", "data: no patch store"),
    ],
)
def test_wrong_site_file_is_told(grid, tmp_path, text, expected):
    experiment(tmp_path, "")
    (tmp_path / "s.yaml").write_text(text)
    done = grid("submit", "e.yaml", "--site", "s.yaml")
    assert done.returncode == 2
    assert expected in done.stderr and "Traceback" not in done.stderr


def test_slurm_array_is_the_sites(grid, tmp_path):
    """The exact line; a GPU that a row names wins over --gpu."""
    experiment(tmp_path, "  seed: 1..6\n  gpu: v100\n")
    greene = STAND_INS.parents[1] / "slurm/sites/greene.yaml"
    done = grid("submit", "e.yaml", "--site", greene, "--index", "1-3,6", "--dry-run")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[0] == "sbatch" and "--gres=gpu:v100:1" in words and len(words) > 6
    assert words[-4:] == ["--job-name=e", "--array=1-3,6", "slurm/train.sbatch", "e.yaml"]
    (tmp_path / "e.yaml").write_text((tmp_path / "e.yaml").read_text().replace("v100", "tpu"))
    done = grid("submit", "e.yaml", "--site", greene, "--dry-run")
    assert done.returncode == 2 and "tpu: not at this site; expected one of v100" in done.stderr
