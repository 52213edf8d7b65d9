"""What a mask says of a scene: its variables and attributes, the same in every file format.

By the CF conventions 1.11 and the Attribute Convention for Data Discovery 1.3. Values are as they
are stored: packed, with fill.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from cloudmask import __version__
from cloudmask.errors import InputError
from cloudmask.evaluate.coverage import coverage_in_space, coverage_in_time, start_and_stop
from cloudmask.evaluate.prediction import Prediction
from cloudmask.scenes.geolocation import Geolocation
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.slstr import CONFIDENCE_FLAGS, SURFACE_FLAGS
from cloudmask.system.text import one_line

log = logging.getLogger(__name__)

CONVENTIONS = "CF-1.11, ACDD-1.3"
STANDARD_NAMES = "CF Standard Name Table v93"
IMAGE = ("y", "x")  # dimensions of an image

FILL = 255
# Probability is stored in steps of 1/250: finer than a network's probability means anything.
PROBABILITY_STEPS = 250
# Positions are rounded to 2^-16 degree, 1.7 m, which float32 holds exactly and deflate packs well.
DEGREE_STEPS = 65536
PIXEL_METERS = 1000  # of the grid of S7 to S9
EPOCH = datetime(2000, 1, 1, tzinfo=timezone.utc)
TIME_UNITS = "seconds since 2000-01-01 00:00:00"


@dataclass(frozen=True)
class MaskVariable:
    """A variable as it is stored.

    dimensions: names for each side of `values`. fill: the value that stands for none, if any.
    coordinate: it says where or when the others are.
    """

    dimensions: tuple[str, ...]
    values: np.ndarray
    attributes: Mapping[str, Any] = field(default_factory=dict)
    fill: Any = None
    coordinate: bool = False


def variables(prediction: Prediction, layers: Sequence[str] = ()) -> dict[str, MaskVariable]:
    """All variables of a prediction by name, coordinates last.

    layers: what is added, of `LAYERS`. A layer that the scene has no values for is left out, which
    is logged. Raises InputError for an unknown layer.
    """
    coordinates = _coordinates(prediction)
    auxiliary = [name for name, found in coordinates.items() if found.dimensions != (name,)]
    images = {"cloud_probability": _probability(prediction)} | _layers(prediction, layers)
    images = {"cloud_mask": _cloud_mask(prediction, tuple(images))} | images
    if auxiliary:
        located = {"coordinates": " ".join(auxiliary)}
        images = {name: _with(image, located) for name, image in images.items()}
    return images | coordinates


def attributes(prediction: Prediction, created: str = "") -> dict[str, Any]:
    """Attributes of the whole file; what is not known is left out.

    created: time of writing, ISO 8601. Without it, equal predictions give equal files.
    """
    scene, origin = prediction.scene, prediction.scene.origin
    found = {
        "Conventions": CONVENTIONS,
        "title": f"Cloud mask of {scene.name}",
        "summary": _summary(prediction),
        "keywords": "EARTH SCIENCE > ATMOSPHERE > CLOUDS",
        "keywords_vocabulary": "GCMD Science Keywords",
        "standard_name_vocabulary": STANDARD_NAMES,
        "id": scene.name,
        "source": f"cloudmask {__version__}, U-Net",
        "history": f"{created} cloud mask of {origin.product or scene.name}".strip(),
        "processing_level": "L2",
        "cdm_data_type": "Swath",
        "platform": origin.platform,
        "instrument": "SLSTR, simulated" if origin.synthetic else "SLSTR",
        "comment": "A simulated scene, not a measurement" if origin.synthetic else "",
        "product_name": origin.product,
        "data_origin": origin.source,
        "processing_baseline": origin.baseline,
        "processor": origin.processor,
        "label_source": prediction.labels,
        "model_sha256": prediction.model,
        "probability_threshold": float(prediction.threshold),
        "dilation_pixels": np.int32(prediction.dilate),
        "reflectance_calibration": prediction.calibration,
        "date_created": created,
        **coverage_in_time(origin),
        **coverage_in_space(scene.geolocation),
    }
    # Text of products and names of files may hold what no attribute can.
    return {
        name: one_line(value) if isinstance(value, str) else value
        for name, value in found.items()
        if not (isinstance(value, str) and not value)
    }


def _summary(prediction: Prediction) -> str:
    widened = f", widened by {prediction.dilate} pixels" if prediction.dilate else ""
    labels = prediction.labels
    learned = f" The network learned from the label source {labels}." if labels else ""
    return (
        "Probability of cloud for each pixel of the 1 km grid (nadir view) by a U-Net, and a mask "
        f"of the pixels in which it is above {prediction.threshold:g}{widened}.{learned}"
    )


def _cloud_mask(prediction: Prediction, ancillary: tuple[str, ...]) -> MaskVariable:
    measured = prediction.scene.measured[..., 0]
    return MaskVariable(
        IMAGE,
        np.where(measured, prediction.cloud[..., 0], FILL).astype(np.uint8),
        {
            "standard_name": "cloud_binary_mask",
            "long_name": "cloud mask",
            "units": "1",
            **_flags({"clear": 0, "cloud": 1}, np.uint8, "flag_values"),
            "valid_range": np.array([0, 1], np.uint8),
            "coverage_content_type": "thematicClassification",
            "ancillary_variables": " ".join(ancillary),
        },
        np.uint8(FILL),
    )


def _probability(prediction: Prediction) -> MaskVariable:
    """Without a standard name: the table has none for it."""
    measured = prediction.scene.measured[..., 0]
    probability = np.where(measured, prediction.probability[..., 0], 0)
    steps = np.round(probability * PROBABILITY_STEPS).astype(np.uint8)
    return MaskVariable(
        IMAGE,
        np.where(measured, steps, FILL).astype(np.uint8),
        {
            "long_name": "probability of cloud",
            "units": "1",
            "scale_factor": np.float32(1 / PROBABILITY_STEPS),
            "valid_range": np.array([0, PROBABILITY_STEPS], np.uint8),
            "coverage_content_type": "auxiliaryInformation",
        },
        np.uint8(FILL),
    )


def _valid(prediction: Prediction) -> MaskVariable:
    return MaskVariable(
        IMAGE,
        prediction.scene.measured[..., 0].astype(np.uint8),
        {
            "standard_name": "quality_flag",
            "long_name": "whether the pixel was measured",
            **_flags({"not_measured": 0, "measured": 1}, np.uint8, "flag_values"),
            "coverage_content_type": "qualityInformation",
        },
    )


def _confidence(prediction: Prediction) -> MaskVariable | None:
    bits = prediction.scene.confidence
    if bits is None:
        return None
    return MaskVariable(
        IMAGE,
        bits.astype(np.uint16),
        {
            "standard_name": "status_flag",
            "long_name": "flags of the product, confidence_in",
            **_flags(CONFIDENCE_FLAGS, np.uint16, "flag_masks"),
            "coverage_content_type": "auxiliaryInformation",
        },
    )


def _surface(prediction: Prediction) -> MaskVariable | None:
    """The flags of `SURFACE_FLAGS`, one bit each from the lowest on."""
    bits = prediction.scene.confidence
    if bits is None:
        return None
    masks = {name: 1 << index for index, name in enumerate(SURFACE_FLAGS)}
    values: np.ndarray = np.zeros(bits.shape, np.uint8)
    for name, mask in masks.items():
        values[bits & CONFIDENCE_FLAGS[name] > 0] |= mask
    return MaskVariable(
        IMAGE,
        values,
        {
            "standard_name": "status_flag",
            "long_name": "surface, by the flags of the product",
            **_flags(masks, np.uint8, "flag_masks"),
            "coverage_content_type": "auxiliaryInformation",
        },
    )


_LAYERS: dict[str, Callable[[Prediction], MaskVariable | None]] = {
    "valid": _valid,
    "confidence": _confidence,
    "surface": _surface,
}
LAYERS = tuple(_LAYERS)


def _layers(prediction: Prediction, layers: Sequence[str]) -> dict[str, MaskVariable]:
    unknown = [name for name in layers if name not in _LAYERS]
    if unknown:
        raise InputError(f"no layer '{unknown[0]}'; expected of {', '.join(LAYERS)}")
    found = {}
    for name in layers:
        layer = _LAYERS[name](prediction)
        if layer is None:
            log.warning(
                "%s: no confidence flags, so the mask has no '%s'", prediction.scene.name, name
            )
        else:
            found[name] = layer
    return found


def _flags(meanings: Mapping[str, int], dtype: type, kind: str) -> dict[str, Any]:
    """Attributes of flags; `kind` is "flag_values" or, for bits, "flag_masks"."""
    values: np.ndarray = np.array(list(meanings.values()), dtype)
    return {kind: values, "flag_meanings": " ".join(meanings)}


def _coordinates(prediction: Prediction) -> dict[str, MaskVariable]:
    """Place in the image, and position and time where they are known.

    Without `y` GDAL shows an image of netCDF upside down; by one in meters that descends it takes
    the first row for the upper one.
    """
    height, width = prediction.probability.shape[:2]
    scene = prediction.scene
    down = -PIXEL_METERS * np.arange(height, dtype=np.int32) - PIXEL_METERS // 2
    right = PIXEL_METERS * np.arange(width, dtype=np.int32) + PIXEL_METERS // 2
    return {
        "y": _axis("y", down, "distance from the first row against the direction of flight"),
        "x": _axis("x", right, "distance from the first column across the direction of flight"),
        **(_positions(scene.geolocation) if scene.geolocation else {}),
        **_time(scene.origin),
    }


def _axis(name: str, meters: np.ndarray, meaning: str) -> MaskVariable:
    described = {
        "standard_name": f"projection_{name}_coordinate",
        "long_name": f"{meaning}, on the grid of the instrument",
        "units": "m",
        "axis": name.upper(),
    }
    return MaskVariable((name,), meters, described, coordinate=True)


def _positions(geolocation: Geolocation) -> dict[str, MaskVariable]:
    found = {}
    for name, units in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        degrees = np.round(getattr(geolocation, name) * DEGREE_STEPS) / DEGREE_STEPS
        found[name] = MaskVariable(
            IMAGE,
            degrees.astype(np.float32),
            {
                "standard_name": name,
                "long_name": f"{name} of the pixel center",
                "units": units,
                "coverage_content_type": "coordinate",
            },
            np.float32(np.nan),
            coordinate=True,
        )
    return found


def _time(origin: Origin) -> dict[str, MaskVariable]:
    times = start_and_stop(origin)
    if times is None:
        return {}
    described = {
        "standard_name": "time",
        "long_name": "middle of the time between the first and the last row",
        "units": TIME_UNITS,
        "calendar": "standard",
        "units_metadata": "leap_seconds: none",
        "axis": "T",
        "coverage_content_type": "coordinate",
    }
    middle = np.mean([(time - EPOCH).total_seconds() for time in times])
    return {"time": MaskVariable((), np.asarray(middle), described, coordinate=True)}


def _with(variable: MaskVariable, more: Mapping[str, Any]) -> MaskVariable:
    return replace(variable, attributes={**variable.attributes, **more})
