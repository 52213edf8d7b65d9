"""Patches: cutting scenes, the patch store that holds them, and batches from it.

The public names are loaded when they are first used: the store's checks are part of the overlay
tools, which run on nodes where NumPy is not installed.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudmask.patches.geometry import crop_patches, stitch, tile

__all__ = ["crop_patches", "stitch", "tile"]


def __getattr__(name: str):
    if name in __all__:
        return getattr(importlib.import_module("cloudmask.patches.geometry"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
