"""Before work begins: does this image fit the GPU and its driver, and which image does?

TensorFlow falls back to the CPU without a word, or fails late and obscurely, where the card is not
one that it was compiled for. This looks first and says what to take instead.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.hardware.base_images import Base, Bases, compiled_for, read_bases
from cloudmask.hardware.devices import without_greeting
from cloudmask.hardware.gpus import Gpus
from cloudmask.system.disk import free_space

# There as soon as the node's kernel has the driver, whether or not the container may use the card.
DRIVER_OF_NODE = Path("/proc/driver/nvidia/version")

# GPUs of one node exchange gradients through it; NVIDIA runs its containers with 1 GB.
SHARED_MEMORY, SHARED_MEMORY_BYTES = Path("/dev/shm"), 1 << 30

NO_IMAGE = "no image of ours (CLOUDMASK_BASE is not set)"
NO_GPU = "no GPU is visible; ask the scheduler for one, or say that the CPU is meant: --cpu"
NO_NV = (
    "the node has NVIDIA's driver, this process sees no GPU; start the container with --nv, and "
    "ask the scheduler for a GPU"
)


@dataclass
class Report:
    """What was found, line by line, and what stands in the way."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def add(self, what: str, found: str) -> None:
        self.lines.append((what, found))

    def problem(self, text: str, advice: str = "") -> None:
        self.problems.append(text)
        if advice and advice not in self.advice:
            self.advice.append(advice)

    def text(self) -> str:
        """The report as one block."""
        rows = [
            *self.lines,
            *(("problem", text) for text in self.problems),
            *(("instead", text) for text in self.advice),
        ]
        head = "preflight: cannot work" if self.problems else "preflight: ok"
        return "\n".join([head, *(f"  {what:<12} {found}" for what, found in rows)])


def preflight(device: str = "gpu") -> Report:
    """Compare this image with this machine. `device`: "gpu", "cpu", or "auto", what is there."""
    report, table = Report(), read_bases()
    base = table.bases.get(os.environ.get("CLOUDMASK_BASE", ""))
    if device == "cpu":
        # Nothing is compared, so TensorFlow need not be loaded, which takes seconds.
        report.add("image", f"base {base.name}" if base else NO_IMAGE)
        report.add("device", "CPU, as asked")
        return report
    build = build_info()
    report.add("image", _image(base, build))
    gpus = Gpus()
    gpus.close()
    if not gpus.names:
        if device == "gpu":
            report.problem(NO_NV if DRIVER_OF_NODE.exists() else NO_GPU)
            report.lines += [("telemetry", note) for note in gpus.notes]
        else:
            report.add("device", "CPU, there is no GPU")
        return report
    if device == "auto" and not build.get("is_cuda_build"):
        report.add("device", "CPU, this image has no CUDA")
        return report
    for index, name in enumerate(gpus.names):
        _check_card(report, table, build, gpus, index, name)
    if base and gpus.driver:
        _check_driver(report, table, base, gpus)
    if len(gpus.names) > 1:
        free = free_space(SHARED_MEMORY)
        little = ", little for NCCL: expected 1 GB" if free < SHARED_MEMORY_BYTES else ""
        report.add("/dev/shm", f"{free / 1e9:.2f} GB free{little}")
    return report


def build_info() -> Mapping:
    """What TensorFlow was compiled for; empty without TensorFlow."""
    try:
        with without_greeting():
            import tensorflow as tf
    except ImportError:
        return {}
    return dict(tf.sysconfig.get_build_info()) | {"tensorflow": tf.__version__}


def _image(base: Base | None, build: Mapping) -> str:
    parts = [f"base {base.name}"] if base else [NO_IMAGE]
    parts.append(f"TensorFlow {build.get('tensorflow', 'missing')}")
    if build.get("is_cuda_build"):
        parts.append(f"CUDA {build.get('cuda_version', 'of unknown version')}")
        parts.append(" ".join(build.get("cuda_compute_capabilities", [])))
    else:
        parts.append("for the CPU only")
    return ", ".join(parts)


def _check_card(
    report: Report, table: Bases, build: Mapping, gpus: Gpus, index: int, name: str
) -> None:
    capability = gpus.capabilities[index]
    card = table.card(name)
    if capability is None and card:
        capability = card.capability
    if capability is None:
        report.add(f"GPU {index}", f"{name}, compute capability not known: not checked")
        return
    compiled = list(build.get("cuda_compute_capabilities", []))
    fits = bool(build.get("is_cuda_build")) and compiled_for(compiled, capability)
    precision = f", precision {card.precision}" if card and fits else ""
    report.add(f"GPU {index}", f"{name}, compute capability {capability}{precision}")
    if not fits:
        found = f"is compiled for {' '.join(compiled)}" if compiled else "is for the CPU only"
        report.problem(
            f"TensorFlow {build.get('tensorflow', '')} {found}; GPU {index} is {capability}",
            table.advice(name, capability, gpus.driver),
        )


def _check_driver(report: Report, table: Bases, base: Base, gpus: Gpus) -> None:
    data_centre = all(map(table.data_centre, gpus.names))
    if base.driver is None:
        return
    report.add("driver", f"{gpus.driver}, {base.name} wants {base.drivers(data_centre)}")
    if not base.driver_fits(gpus.driver, data_centre):
        capability = gpus.capabilities[0] or "0"
        report.problem(
            f"driver {gpus.driver} is too old for CUDA {base.cuda}",
            table.advice(gpus.names[0], capability, gpus.driver),
        )
