"""Predicted masks as CF netCDF, which GIS tools and xarray read as they are."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from cloudmask import __version__
from cloudmask.evaluate.prediction import Prediction
from cloudmask.system.files import replacing

FILL = 255
# Probability is stored in steps of 1/250: finer than a network's probability means anything.
PROBABILITY_SCALE = 1 / 250


def write_mask(path: Path, prediction: Prediction) -> None:
    """Write cloud mask and probability of one scene atomically to `path`."""
    import h5netcdf

    # Built in memory: on a full disk HDF5 crashes, while writing bytes fails cleanly.
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        file.attrs["Conventions"] = "CF-1.8"
        file.attrs["title"] = f"Cloud mask of {prediction.scene.name}"
        file.attrs["source"] = (
            f"cloudmask {__version__}, U-Net, cloud above {prediction.threshold:g}"
        )
        height, width = prediction.probability.shape[:2]
        file.dimensions = {"row": height, "column": width}
        for layer, (values, attributes) in _layers(prediction).items():
            variable = file.create_variable(
                layer,
                ("row", "column"),
                np.uint8,
                fillvalue=np.uint8(FILL),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                chunks=(height, width),
            )
            variable[...] = values
            variable.attrs.update(attributes)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _layers(prediction: Prediction) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
    """Values (H, W) uint8 and attributes by name."""
    known = prediction.scene.valid[..., 0]
    probability = prediction.probability[..., 0]
    steps = np.round(probability / PROBABILITY_SCALE).astype(np.uint8)
    return {
        "cloud_mask": (
            np.where(known, probability > prediction.threshold, FILL).astype(np.uint8),
            {
                "long_name": "cloud mask",
                "flag_values": np.array([0, 1], np.uint8),
                "flag_meanings": "clear cloud",
            },
        ),
        "cloud_probability": (
            np.where(known, steps, FILL).astype(np.uint8),
            {
                "long_name": "probability of cloud",
                "units": "1",
                "scale_factor": np.float32(PROBABILITY_SCALE),
            },
        ),
    }
