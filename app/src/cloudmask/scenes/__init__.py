"""Scenes: what they are, how their files are read, found, downloaded and simulated.

The public names are loaded when they are first used: finding scenes needs Python alone, and
overlays are made on nodes where nothing else is installed.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudmask.scenes.scene import Scene, check_scene, read_scene

__all__ = ["Scene", "check_scene", "read_scene"]


def __getattr__(name: str):
    if name in __all__:
        return getattr(importlib.import_module("cloudmask.scenes.scene"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
