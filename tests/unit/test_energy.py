"""Sources of energy: a tree in place of the kernel's, programs in place of the node's."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from cloudmask.record import energy
from cloudmask.record.energy import CPU, NODE, Ipmi, NoReading, Power, Rapl, Slurm, open_source
from cloudmask.record.telemetry import Telemetry

ROOT = Path(__file__).resolve().parents[2]
IPMI = """
    Instantaneous power reading:                   412 Watts
    Minimum during sampling period:                 30 Watts
    Power reading state is:                   activated
"""
NODE_LINE = "NodeName=n1 Arch=x86_64 CurrentWatts={watts} AveWatts=200 ConsumedJoules={joules}\n"


@pytest.fixture(autouse=True)
def bare_node(monkeypatch, tmp_path):
    """No counters, no programs but those that a test puts into the folder `bin`."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    monkeypatch.delenv(energy.ANSWERS, raising=False)
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(energy.shutil, "which", only_below(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()


def only_below(folder):
    """`shutil.which` as on a machine that has nothing else."""
    return lambda name: str(folder / name) if (folder / name).exists() else None


def program(tmp_path, name, text, code=0):
    path = tmp_path / "bin" / name
    (tmp_path / f"{name}.txt").write_text(text)
    path.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\ncat {tmp_path}/{name}.txt\nexit {code}\n'
    )
    path.chmod(0o755)


def zone(tmp_path, number, microjoules, span=10_000_000):
    folder = tmp_path / "powercap" / f"intel-rapl:{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"package-{number}\n")
    (folder / "max_energy_range_uj").write_text(f"{span}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    return folder / "energy_uj"


def test_rapl_adds_packages_and_wraps(tmp_path):
    first, second = zone(tmp_path, 0, 9_000_000), zone(tmp_path, 1, 0)
    source = Rapl()
    assert source.read() == Power(joules=0)
    first.write_text("2000000")
    second.write_text("500000")
    assert source.read() == Power(joules=3.5)


def test_rapl_without_the_right_to_read(tmp_path, monkeypatch):
    """As the kernel answers all users but root."""
    counter = zone(tmp_path, 0, 1)
    read_text = Path.read_text

    def refuse(path, *arguments, **options):
        if path == counter:
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    notes: list[str] = []
    assert open_source(CPU, notes) is None
    assert "no CPU energy by rapl: " in notes[0] and "root can give the right" in notes[0]


def test_power_by_the_boards_controller(tmp_path):
    program(tmp_path, "ipmitool", IPMI)
    assert Ipmi().read() == Power(watts=412)
    assert (tmp_path / "calls").read_text() == "dcmi power reading\n"


@pytest.mark.parametrize(
    ("text", "code", "reason"),
    [
        (IPMI.replace("412", "0"), 0, "no power"),
        ("", 0, "no power"),
        (IPMI, 1, "exit code 1"),
    ],
)
def test_a_controller_that_does_not_tell_is_no_source(tmp_path, text, code, reason):
    program(tmp_path, "ipmitool", text, code)
    notes: list[str] = []
    assert open_source(NODE, notes) is None
    assert reason in notes[0] and "scontrol: not found" in notes[1]


@pytest.mark.parametrize(
    ("watts", "joules", "power"),
    [
        (220, 0, Power(watts=220)),
        (220, 5000, Power(220, 5000)),
        ("n/s", 5000, Power(joules=5000)),
    ],
)
def test_power_by_slurm(tmp_path, monkeypatch, watts, joules, power):
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    program(tmp_path, "scontrol", NODE_LINE.format(watts=watts, joules=joules))
    assert Slurm().read() == power
    assert (tmp_path / "calls").read_text() == "--oneliner show node n1\n"


@pytest.mark.parametrize("nothing", [0, "n/s"])
def test_slurm_without_a_plug_in_is_no_source(tmp_path, nothing):
    program(tmp_path, "scontrol", NODE_LINE.format(watts=nothing, joules=nothing))
    with pytest.raises(NoReading, match="neither"):
        Slurm().read()


def test_the_jobs_answer_counts_while_it_is_new(tmp_path, monkeypatch):
    monkeypatch.setenv(energy.ANSWERS, str(tmp_path / "power"))
    answer = tmp_path / "power.ipmi"
    answer.write_text(IPMI)
    assert open_source(NODE, []).read() == Power(watts=412)
    os.utime(answer, (1, 1))
    with pytest.raises(NoReading, match="not found"):
        Ipmi().read()


def test_a_program_that_hangs_is_given_up(tmp_path, monkeypatch):
    program(tmp_path, "ipmitool", IPMI)
    (tmp_path / "bin/ipmitool").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr(energy, "PROGRAM_SECONDS", 0.2)
    with pytest.raises(NoReading, match="timed out"):
        Ipmi().read()


def test_node_in_the_telemetry(tmp_path):
    """Its joules stand beside those of the parts, and are not added to them."""
    program(tmp_path, "scontrol", NODE_LINE.format(watts=300, joules=1000))
    zone(tmp_path, 0, 0)
    with Telemetry(tmp_path / "t.csv", interval=0.02) as log:
        deadline = time.monotonic() + 120
        while "node," not in log.path.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        (tmp_path / "scontrol.txt").write_text(NODE_LINE.format(watts=500, joules=1500))
    summary = log.summary()
    assert summary["node_joules"] == pytest.approx(500)
    assert summary["sources"]["node"] == "slurm energy counter"
    assert (summary["joules"], summary["sources"]["cpu"]) == (0, "rapl")
    assert summary["mean_power_watts"] is None


def test_a_job_asks_the_nodes_programs_for_its_container(tmp_path):
    """slurm/lib/power.sh, whose files the sources read from inside."""
    program(tmp_path, "ipmitool", IPMI)
    program(tmp_path, "scontrol", NODE_LINE.format(watts=0, joules=0))
    script = (
        "source slurm/lib/container.sh; source slurm/lib/power.sh; signals::at_exit() { :; }\n"
        f"power::begin; echo ${energy.ANSWERS}; ls $POWER_FOLDER; cat $POWER_FOLDER/power.ipmi\n"
        "power::end; [[ ! -e $POWER_FOLDER ]]; ! kill -0 $POWER_SAMPLER 2>/dev/null\n"
    )
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "SLURMD_NODENAME": "n1"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    inside, listing, *answer = done.stdout.splitlines()
    assert inside.startswith("/cloudmask/tmp/cloudmask-power.") and inside.endswith("/power")
    assert listing == "power.ipmi", "what tells nothing is not asked again"
    assert "\n".join(answer).strip() == IPMI.strip()


def test_a_job_on_a_node_that_tells_nothing_asks_once(tmp_path):
    script = (
        "source slurm/lib/container.sh; source slurm/lib/power.sh; signals::at_exit() { :; }\n"
        f"power::begin; echo ${{{energy.ANSWERS}-none}} $POWER_SAMPLER; power::end; ls $TMPDIR"
    )
    variables = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=ROOT, env=variables, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split()) == (0, ["none", "bin"]), done.stderr
