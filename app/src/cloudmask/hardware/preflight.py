"""Before work begins: does this image fit the GPU and its driver, and which image does?

TensorFlow falls back to the CPU silently, or fails late and obscurely, where the card is not one
that it was compiled for. This looks first and reports which image to take instead.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cloudmask.hardware.amd_gpus import AmdGpus
from cloudmask.hardware.base_images import (
    BaseImage,
    BaseImages,
    compiled_for,
    read_base_images,
)
from cloudmask.hardware.devices import without_greeting
from cloudmask.hardware.gpu_libraries import GpuLibrary, open_gpus
from cloudmask.hardware.gpus import GpuCard
from cloudmask.system.disk import free_space
from cloudmask.system.distribution import missing_tensorflow

# There as soon as the node's kernel has the driver, whether or not the container may use the card.
DRIVER_OF_NODE = Path("/proc/driver/nvidia/version")

# GPUs of one node exchange gradients through it; NVIDIA runs its containers with 1 GB.
SHARED_MEMORY, SHARED_MEMORY_BYTES = Path("/dev/shm"), 1 << 30

NO_IMAGE = "no image of ours (CLOUDMASK_BASE is not set)"
NO_GPU = "no GPU is visible; request one from the scheduler, or choose the CPU: --cpu"
NO_NV = (
    "the node has NVIDIA's driver, this process sees no GPU; start the container with --nv, and "
    "request a GPU from the scheduler"
)


@dataclass
class PreflightReport:
    """What was found, line by line, and what stands in the way."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)

    def add(self, what: str, found: str) -> None:
        """Add a line."""
        self.lines.append((what, found))

    def problem(self, text: str, advice: str = "") -> None:
        """Add a problem, and what to do about it."""
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


@dataclass(frozen=True)
class TensorFlowBuild:
    """What TensorFlow was compiled for; `version` is None without TensorFlow.

    compiled: targets such as "sm_70" and "compute_90", none for a build for the CPU.
    """

    version: str | None = None
    cuda: str | None = None
    compiled: Sequence[str] = ()
    for_gpus: bool = False
    for_amd: bool = False

    def __str__(self) -> str:
        text = f"TensorFlow {self.version or 'missing'}"
        if self.for_amd:
            return f"{text}, for AMD's GPUs"
        if not self.for_gpus:
            return f"{text}, for the CPU only"
        return f"{text}, CUDA {self.cuda or 'of unknown version'}, {' '.join(self.compiled)}"

    def runs_on(self, capability: str) -> bool:
        """Whether it runs on cards of a compute capability."""
        return self.for_gpus and compiled_for(self.compiled, capability)


def preflight(device: str = "gpu") -> PreflightReport:
    """Compare this image with this machine. `device`: "gpu", "cpu", or "auto", what is there."""
    report, table = PreflightReport(), read_base_images()
    if missing := missing_tensorflow():
        report.problem(missing)
        return report
    base = table.bases.get(os.environ.get("CLOUDMASK_BASE", ""))
    image = f"base {base.name}" if base else NO_IMAGE
    if device == "cpu":
        # Nothing is compared, so TensorFlow need not be loaded, which takes seconds.
        report.add("image", image)
        report.add("device", "CPU, as requested")
        return report
    build = tensorflow_build()
    report.add("image", f"{image}, {build}")
    gpus = open_gpus()
    gpus.close()
    if not gpus.cards and device == "gpu":
        report.problem(NO_NV if DRIVER_OF_NODE.exists() else NO_GPU)
        report.lines += [("telemetry", note) for note in gpus.notes]
    elif not gpus.cards:
        report.add("device", "CPU, there is no GPU")
    elif gpus.library == AmdGpus.library:
        _check_amd(report, build, gpus)
    elif device == "auto" and not build.for_gpus:
        report.add("device", "CPU, this image has no CUDA")
    else:
        _Check(report, table, build, gpus).all(base)
    return report


def _check_amd(report: PreflightReport, build: TensorFlowBuild, gpus: GpuLibrary) -> None:
    """The images are for NVIDIA's cards: on AMD's only whether TensorFlow is built for them."""
    for index, card in enumerate(gpus.cards):
        report.add(f"GPU {index}", f"{card.name}, of AMD: compute capability not checked")
    if not build.for_amd:
        report.problem(
            f"TensorFlow {build.version or ''} is not built for AMD's GPUs",
            "a Python environment with TensorFlow for ROCm, without an image of ours",
        )


def tensorflow_build() -> TensorFlowBuild:
    """What the installed TensorFlow was compiled for."""
    try:
        with without_greeting():
            import tensorflow as tf
    except ImportError:
        return TensorFlowBuild()
    found = tf.sysconfig.get_build_info()
    return TensorFlowBuild(
        version=tf.__version__,
        cuda=found.get("cuda_version"),
        compiled=tuple(found.get("cuda_compute_capabilities", ())),
        for_gpus=bool(found.get("is_cuda_build")),
        for_amd=bool(found.get("is_rocm_build")),
    )


@dataclass(frozen=True)
class _Check:
    """Compares the visible cards with the build and writes what it finds into the report."""

    report: PreflightReport
    table: BaseImages
    build: TensorFlowBuild
    gpus: GpuLibrary

    def all(self, base: BaseImage | None) -> None:
        """Check every card, the driver and, for several cards, the memory that they share."""
        for index, card in enumerate(self.gpus.cards):
            self._card(index, card)
        if base and base.driver and self.gpus.driver:
            self._driver(base, self.gpus.driver)
        if len(self.gpus.cards) > 1:
            free = free_space(SHARED_MEMORY)
            little = ", little for NCCL: expected 1 GB" if free < SHARED_MEMORY_BYTES else ""
            self.report.add("/dev/shm", f"{free / 1e9:.2f} GB free{little}")

    def _card(self, index: int, card: GpuCard) -> None:
        known, build = self.table.card(card.name), self.build
        capability = card.capability or (known.capability if known else None)
        label = f"GPU {index}"
        if capability is None:
            self.report.add(label, f"{card.name}, compute capability not known: not checked")
            return
        fits = build.runs_on(capability)
        precision = f", precision {known.precision}" if known and fits else ""
        self.report.add(label, f"{card.name}, compute capability {capability}{precision}")
        if not fits:
            compiled = " ".join(build.compiled)
            found = f"is compiled for {compiled}" if compiled else "is for the CPU only"
            self.report.problem(
                f"TensorFlow {build.version or ''} {found}; {label} is {capability}",
                self.table.advice(card.name, capability, self.gpus.driver),
            )

    def _driver(self, base: BaseImage, driver: str) -> None:
        data_center = all(self.table.data_center(card.name) for card in self.gpus.cards)
        self.report.add("driver", f"{driver}, {base.name} needs {base.drivers(data_center)}")
        if not base.driver_fits(driver, data_center):
            card = self.gpus.cards[0]
            self.report.problem(
                f"driver {driver} is too old for CUDA {base.cuda}",
                self.table.advice(card.name, card.capability or "0", driver),
            )
