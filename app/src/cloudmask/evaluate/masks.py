"""Predicted masks as CF netCDF, which GIS tools and xarray read as they are."""

import io
from pathlib import Path

import numpy as np

from cloudmask import __version__
from cloudmask.system.files import replacing

FILL = 255
# Probability is stored in steps of 1/250: finer than a network's probability means anything.
PROBABILITY_SCALE = 1 / 250


def write_mask(
    path: Path, name: str, probability: np.ndarray, valid: np.ndarray, threshold: float
) -> None:
    """Write cloud mask and probability of one scene, (H, W, 1) each, atomically to `path`."""
    import h5netcdf

    known = valid[..., 0]
    p = probability[..., 0]
    steps = np.round(p / PROBABILITY_SCALE).astype(np.uint8)
    layers = {
        "cloud_mask": (
            np.where(known, p > threshold, FILL).astype(np.uint8),
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
    # Built in memory: on a full disk HDF5 crashes, while writing bytes fails cleanly.
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        file.attrs["Conventions"] = "CF-1.8"
        file.attrs["title"] = f"Cloud mask of {name}"
        file.attrs["source"] = f"cloudmask {__version__}, U-Net, cloud above {threshold:g}"
        file.dimensions = {"row": p.shape[0], "column": p.shape[1]}
        for layer, (values, attributes) in layers.items():
            variable = file.create_variable(
                layer,
                ("row", "column"),
                np.uint8,
                fillvalue=np.uint8(FILL),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
                chunks=p.shape,
            )
            variable[...] = values
            variable.attrs.update(attributes)
    with replacing(path) as temporary:
        temporary.write_bytes(content.getbuffer())
