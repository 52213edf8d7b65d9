"""Real images with hand-drawn cloud masks as scenes, for benchmarks of what a network learns.

The images are Landsat 5 and Sentinel-2 patches of dlr-eoc/ukis-csmask (Apache-2.0).
"""

from pathlib import Path

import h5py
import numpy as np

SENSORS = ("landsat5", "sentinel2")
CLOUD = 4  # class of the hand-drawn masks; 0 is cloud shadow, the others are clear
TEMPERATURE = 270.0  # kelvin; the images have no thermal bands, and this normalises to 0


def write_scenes(labelled_dir: Path | str, out_dir: Path | str) -> dict[str, Path]:
    """Write each sensor's image as OUT_DIR/SENSOR/SENSOR.hdf; returns the files by sensor.

    `labelled_dir` holds SENSOR.npz with `img` (512, 512, 6), reflectances at 0.48, 0.56, 0.66,
    0.84, 1.6 and 2.2 um, and `msk` (512, 512, 1). The bands stand in for S1 to S6 as they are.
    """
    written = {}
    for sensor in SENSORS:
        path = Path(out_dir) / sensor / f"{sensor}.hdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        with np.load(Path(labelled_dir) / f"{sensor}.npz") as source, h5py.File(path, "w") as file:
            image, cloud = source["img"], (source["msk"] == CLOUD).astype(np.uint8)
            file["refs"] = image.astype(np.float32)
            file["bts"] = np.full((*image.shape[:2], 3), TEMPERATURE, np.float32)
            file["bayes"] = file["summary"] = cloud
        written[sensor] = path
    return written
