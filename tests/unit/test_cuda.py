"""CUDA and cuDNN: of the build, and of libraries that are loaded."""

import json
import shutil
import subprocess
import sys

import pytest

from cloudmask.hardware import cuda

STAND_INS = {
    "libcudart.so.12": "int cudaRuntimeGetVersion(int *v) { *v = 12030; return 0; }",
    "libcudnn.so.9": "unsigned long cudnnGetVersion(void) { return 90100; }",
    "libcudnn.so.8": "unsigned long cudnnGetVersion(void) { return 8907; }",
}
NOTHING = dict.fromkeys(("version", "cudnn", "runtime", "cudnn_runtime"))


class Build:
    """As much of TensorFlow as is asked."""

    class sysconfig:
        @staticmethod
        def get_build_info():
            return {"cuda_version": "12.3", "cudnn_version": "8"}


def test_versions_of_the_build(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", Build)
    assert cuda.versions() == NOTHING | {"version": "12.3", "cudnn": "8"}


@pytest.mark.parametrize("module", [None, object()])
def test_no_tensorflow_is_no_fault(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    assert cuda.versions() == NOTHING


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")
@pytest.mark.parametrize(("cudnn", "version"), [("8", "8.9.7"), ("9", "9.1.0")])
def test_loaded_libraries_answer_for_themselves(tmp_path, cudnn, version):
    libraries = ("libcudart.so.12", f"libcudnn.so.{cudnn}")
    for name in libraries:
        source = tmp_path / "library.c"
        source.write_text(STAND_INS[name])
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / name, source], check=True)
    code = (
        "import ctypes, json\n"
        f"[ctypes.CDLL({str(tmp_path)!r} + '/' + name) for name in {libraries}]\n"
        "from cloudmask.hardware import cuda\n"
        "print(json.dumps(cuda.versions()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == NOTHING | {"runtime": "12.3", "cudnn_runtime": version}
