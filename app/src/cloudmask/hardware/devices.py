"""What the run computes on: strategy, number of workers, precision that suits the device."""

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmask.errors import InputError
from cloudmask.system.memory import require_address_space

# GiB: TensorFlow, and the network on a scene of the published size.
ADDRESS_SPACE = 3

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}

# Compute capability from which the matrix units take a type: float16 on Volta, bfloat16 on Ampere.
FLOAT16_CAPABILITY = (7, 0)
BFLOAT16_CAPABILITY = (8, 0)
# Flags of /proc/cpuinfo: without such instructions bfloat16 is emulated and slower than float32.
BFLOAT16_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}

# Information, not warnings: TF_CPP_MIN_LOG_LEVEL takes effect too late for what TensorFlow prints
# while it is loaded.
GREETING = re.compile(r"WARNING: All log messages before absl|I\d{4} ")


@dataclass(frozen=True)
class Devices:
    """A TensorFlow distribution strategy and this process's rank in it.

    replicas: devices over all workers. gpu: the GPU's name, empty on a CPU.
    """

    strategy: Any
    worker: int
    workers: int
    replicas: int
    gpu: str

    @property
    def local_replicas(self) -> int:
        """Devices of this process."""
        return self.replicas // self.workers

    @property
    def gpus(self) -> int:
        """GPUs over all workers, 0 on a CPU."""
        return self.replicas if self.gpu else 0

    @property
    def chief(self) -> bool:
        """Whether this process writes the run directory."""
        return self.worker == 0


def open_devices(threads: int = 0, deterministic: bool = False) -> Devices:
    """Set TensorFlow up; must be called before anything else uses it.

    Several workers are those of `TF_CONFIG`; several GPUs of one process are mirrored.
    """
    require_address_space(ADDRESS_SPACE)
    with without_greeting():
        import keras  # noqa: F401
        import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    worker, workers = rank()
    if workers > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif len(gpus) > 1:
        strategy = tf.distribute.MirroredStrategy()
    else:
        strategy = tf.distribute.get_strategy()
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "") if gpus else ""
    return Devices(strategy, worker, workers, strategy.num_replicas_in_sync, name)


@contextlib.contextmanager
def without_greeting() -> Iterator[None]:
    """Drop the notices that TensorFlow prints from its C++ side whenever it is imported."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            for line in caught.read().decode(errors="replace").splitlines():
                if not GREETING.match(line):
                    print(line, file=sys.stderr)


def rank() -> tuple[int, int]:
    """Index of this worker and how many there are, by `TF_CONFIG`."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0, 1
    try:
        cluster = json.loads(text)
        workers = cluster["cluster"]["worker"]
        index = int(cluster["task"]["index"])
        if not 0 <= index < len(workers):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise InputError(
            "TF_CONFIG: expected JSON with cluster.worker (list of host:port) and task.index, "
            "an index into that list"
        ) from None
    return index, len(workers)


def choose_precision(setting: str, begun: str | None = None) -> str:
    """Precision to compute in: "float32", "bfloat16" or "float16"; `setting` is one or "auto".

    With "auto" a run that is continued keeps the precision that it was `begun` in, if the device
    has it.
    """
    import tensorflow as tf

    if setting != "auto":
        return setting
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return begun or ("bfloat16" if BFLOAT16_CPU_FLAGS & _cpu_flags() else "float32")
    found = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
    # Only bfloat16 needs a GPU of its own kind; the others are slow at worst.
    if begun and (begun != "bfloat16" or found >= BFLOAT16_CAPABILITY):
        return begun
    if found >= BFLOAT16_CAPABILITY:
        return "bfloat16"
    return "float16" if found >= FLOAT16_CAPABILITY else "float32"


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith("flags")), set())
