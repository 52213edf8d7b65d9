"""cloudmask-preflight with a made-up NVML and TensorFlow on the path of a process of its own."""

import shutil
import textwrap

import pytest

NVML = """
    class NVMLError(Exception):
        pass
    def nvmlInit(): ...
    def nvmlShutdown(): ...
    def nvmlSystemGetDriverVersion(): return {driver!r}
    def nvmlDeviceGetCount(): return {cards}
    def nvmlDeviceGetHandleByIndex(i): return i
    def nvmlDeviceGetUUID(card): return f"GPU-{{card}}"
    def nvmlDeviceGetName(card): return {name!r}
    def nvmlDeviceGetCudaComputeCapability(card): return {capability}
    def nvmlDeviceGetMemoryInfo(card): raise NVMLError
"""
TENSORFLOW = """
    __version__ = "2.15.0"
    class sysconfig:
        @staticmethod
        def get_build_info():
            return {build}
"""
CUDA = {
    "is_cuda_build": True,
    "cuda_version": "12.4",
    "cuda_compute_capabilities": ["sm_70", "sm_75", "sm_80", "sm_86", "compute_90"],
}


@pytest.fixture
def preflight(command, tmp_path):
    """Run cloudmask-preflight on a made-up node."""

    def run(*arguments, build=CUDA, cards=1, base="ngc-24.03", **card):
        card = {"name": "Tesla V100", "capability": (7, 0), "driver": "550.54"} | card
        nvml = textwrap.dedent(NVML).format(cards=cards, **card)
        (tmp_path / "pynvml.py").write_text(nvml)
        (tmp_path / "tensorflow.py").write_text(textwrap.dedent(TENSORFLOW).format(build=build))
        variables = {"PYTHONPATH": str(tmp_path), "CLOUDMASK_BASE": base}
        return command("cloudmask-preflight", *arguments, env=variables)

    return run


def test_card_that_fits(preflight):
    done = preflight()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("preflight: ok\n")
    assert "Tesla V100, compute capability 7.0, precision float16" in done.stdout
    assert "CUDA 12.4, sm_70" in done.stdout and "550.54" in done.stdout


def test_shared_memory_matters_to_several_gpus(preflight):
    assert "/dev/shm" not in preflight().stdout
    free = shutil.disk_usage("/dev/shm").free
    line = next(line for line in preflight(cards=2).stdout.splitlines() if "/dev/shm" in line)
    assert ("little for NCCL" in line) == (free < 1 << 30)


def test_card_that_the_image_was_not_compiled_for(preflight):
    done = preflight(name="Tesla K80", capability=(3, 7), driver="470.82")
    assert done.returncode == 2
    assert "compiled for sm_70 sm_75 sm_80 sm_86 compute_90; GPU 0 is 3.7" in done.stderr
    assert "take the image of: make image GPU=k80 (base tensorflow-2.14)" in done.stdout


def test_old_driver(preflight):
    done = preflight(driver="460.32.03")
    assert done.returncode == 2
    assert "driver 460.32.03 is too old for CUDA 12.4" in done.stderr
    assert "BASE=tensorflow-2.14" in done.stdout


def test_old_branch_serves_data_centers_only(preflight):
    assert preflight(driver="535.104.05").returncode == 0
    workstation = {"name": "Quadro RTX 8000", "capability": (7, 5), "driver": "535.104.05"}
    done = preflight(**workstation)
    assert done.returncode == 2 and "too old" in done.stderr


def test_cpu_image_on_a_gpu(preflight):
    done = preflight(build={"is_cuda_build": False}, base="cpu")
    assert done.returncode == 2 and "is for the CPU only" in done.stderr
    assert "make image GPU=v100" in done.stdout
    for option in ("--cpu", "--auto"):
        assert preflight(option, build={"is_cuda_build": False}, base="cpu").returncode == 0


def test_no_gpu(preflight):
    done = preflight(cards=0)
    assert done.returncode == 2 and "no GPU" in done.stderr
    assert preflight("--auto", cards=0).returncode == 0
    assert "CPU, as requested" in preflight("--cpu", cards=0).stdout


def test_a_wrong_card_stops_auto_too(preflight):
    assert preflight("--auto", name="Tesla K80", capability=(3, 7)).returncode == 2
