"""Nothing of the user's own environment reaches a command that our scripts run in an image."""

import json
import shutil

import pytest
from support import machine

PROBE = """\
import os, sys, json
try:
    import leaked
except ImportError:
    leaked = None
print(json.dumps({
    "leaked": bool(leaked),
    "startup": bool(getattr(sys, "from_startup", False)),
    "path": sys.path,
    "home": os.path.isdir(os.environ.get("HOME", "")) and os.listdir(os.environ["HOME"]),
    "environment": dict(os.environ),
    "tmp": os.listdir("/tmp"),
}))
"""
LEAK = "raise SystemExit('leaked: a module of the host was imported')\n"


@pytest.fixture
def polluted(apptainer):
    """A user whose shell and home are full of Python of their own; yields the variables."""
    site = apptainer.home / ".local/lib/python3.11/site-packages"
    if site.exists():
        pytest.skip(f"{site} is in use")
    site.mkdir(parents=True)
    (site / "leaked.py").write_text(LEAK)
    (site / "usercustomize.py").write_text(LEAK)
    (site / "numpy.py").write_text(LEAK)
    folder = machine.shared_folder("pollution")
    (folder / "leaked.py").write_text(LEAK)
    (folder / "keras.py").write_text(LEAK)
    (folder / "startup.py").write_text("import sys; sys.from_startup = True\n")
    yield {
        "PYTHONPATH": str(folder),
        "PYTHONSTARTUP": str(folder / "startup.py"),
        "PYTHONHOME": str(folder),
        "CONDA_PREFIX": "/opt/conda",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "SLURM_JOB_ID": "4711",
        "SLURM_NODELIST": "n[1,2],m3",
        "TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1}}',
        "CUDA_VISIBLE_DEVICES": "1",
        "CLOUDMASK_TEST": "two words, and a comma",
    }
    shutil.rmtree(apptainer.home / ".local")


def in_container(apptainer, tree, variables, *words):
    """Run a command through the scripts' own function, from the polluted environment."""
    script = f'source {tree}/slurm/lib/container.sh; container::exec "$@"'
    cwd = machine.shared_folder("isolated")
    return apptainer.run("bash", "-c", script, "bash", *words, cwd=cwd, **variables)


def test_nothing_leaks_in(apptainer, cpu_image, polluted):
    probe = in_container(
        apptainer, cpu_image.tree, polluted, cpu_image.path, "python3", "-c", PROBE
    )
    assert probe.returncode == 0, probe.stderr
    found = json.loads(probe.stdout)
    assert not found["leaked"] and not found["startup"]
    assert not any("pollution" in entry or ".local" in entry for entry in found["path"])
    assert not found["home"]
    environment = found["environment"]
    gone = ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "CONDA_PREFIX", "AWS_SECRET_ACCESS_KEY")
    assert not [name for name in gone if name in environment]
    passed = (
        "SLURM_JOB_ID",
        "SLURM_NODELIST",
        "TF_CONFIG",
        "CUDA_VISIBLE_DEVICES",
        "CLOUDMASK_TEST",
    )
    assert {name: environment.get(name) for name in passed} == {n: polluted[n] for n in passed}


def test_probe_sees_a_leak(apptainer, cpu_image, polluted):
    """With the variable given past the image's settings, the same probe does find the module."""
    folder = polluted["PYTHONPATH"]
    command = ("env", f"PYTHONPATH={folder}", "python3", "-c", PROBE)
    bare = apptainer.run("apptainer", "exec", "--bind", folder, cpu_image.path, *command)
    assert bare.returncode != 0 and "leaked" in bare.stderr


def test_network_runs_amid_pollution(apptainer, cpu_image, polluted):
    words = ("cloudmask-eval", "--example", "--no-pictures")
    done = in_container(
        apptainer, cpu_image.tree, polluted | {"TF_CONFIG": ""}, cpu_image.path, *words
    )
    assert done.returncode == 0, done.stderr
    assert "U-Net, mask" in done.stdout


def test_exit_code_and_missing_image(apptainer, cpu_image):
    words = (cpu_image.path, "bash", "-c", "exit 75")
    assert in_container(apptainer, cpu_image.tree, {}, *words).returncode == 75
    missing = in_container(apptainer, cpu_image.tree, {}, "/nowhere.sif", "true")
    assert missing.returncode == 2 and "make it with: make image" in missing.stderr


def test_command_line(tmp_path):
    """The whole command line, by a runtime that only prints it; with a GPU and without."""
    fake = tmp_path / "singularity"
    fake.write_text(
        '#!/bin/sh\nprintf "%s " "$(basename "$0")" "$@"; env | grep ^SINGULARITYENV_C\n'
    )
    image = tmp_path / "x.sif"
    image.touch()
    for name, gpu in (("nvidia-smi", True), ("none", False)):
        (tmp_path / name).write_text("#!/bin/sh\necho 'GPU 0: Tesla V100'\n")
        for file in (fake, tmp_path / name):
            file.chmod(0o755)
        variables = {
            "PATH": f"{tmp_path}:/usr/bin:/bin",
            "TMPDIR": "/scratch",
            "CLOUDMASK_X": "1,2",
            "CLOUDMASK_RUNTIME": "singularity",
            "CLOUDMASK_GPU": "auto",
        }
        printed = machine.Apptainer(tmp_path, tmp_path).run(
            "env",
            "-i",
            *(f"{k}={v}" for k, v in variables.items()),
            "bash",
            "-c",
            'source "$1"; container::exec "$2" --bind /data:/data:ro cloudmask-train --run r',
            "bash",
            machine.REPOSITORY / "slurm/lib/container.sh",
            image,
            cwd=tmp_path,
        )
        assert printed.returncode == 0, printed.stderr
        nv = "--nv --bind /dev/shm " if gpu else ""
        assert printed.stdout.startswith(
            f"singularity -q exec --cleanenv --contain --no-home --pwd {tmp_path} "
            f"--bind {tmp_path} --bind /data:/data:ro --bind /scratch:/cloudmask/tmp {nv}{image} "
            "cloudmask-train --run r "
        )
        assert "SINGULARITYENV_CLOUDMASK_X=1,2" in printed.stdout
        (tmp_path / name).unlink()
