"""The MLCommons Science cloud-masking benchmark, ready for HPC clusters.

A U-Net labels the cloud pixels of Sentinel-3 SLSTR scenes. Class 1 is cloud, class 0 clear sky.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudmask.evaluate.masking import predict

__version__ = "0.1.0"
__all__ = ["__version__", "predict"]


def __getattr__(name: str):
    """Load `predict` when it is first used: most modules need Python alone."""
    if name == "predict":
        return importlib.import_module("cloudmask.evaluate.masking").predict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
