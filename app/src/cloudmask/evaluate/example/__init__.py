"""A small trained network and a scene that come with the package, for a first result at once.

app/scripts/make_example.py makes them. The network is stored as bare weights, since Keras 2 does
not read what Keras 3 saves, and an image has one or the other.
"""

from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
WEIGHTS = FOLDER / "weights.npz"
FILTERS = 16


def scene() -> Path:
    """The scene: synthetic, 512 x 512 pixels."""
    return next(FOLDER.glob("*.hdf"))


def network() -> Any:
    """The trained U-Net of half the published width, for images of any size (multiples of 8)."""
    from cloudmask.model import unet

    model = unet((None, None, 9), filters=FILTERS)
    with np.load(WEIGHTS) as weights:
        model.set_weights([weights[f"w{i}"].astype(np.float32) for i in range(len(weights.files))])
    return model


def save(model: Any, path: Path) -> None:
    """Write the weights of a network in half precision, in the order of its layers."""
    arrays = {f"w{i}": w.astype(np.float16) for i, w in enumerate(model.get_weights())}
    np.savez_compressed(path, **arrays)
