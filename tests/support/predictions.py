"""Predictions made by hand, as what writes masks takes them."""

import numpy as np

from cloudmask.evaluate.prediction import Prediction
from cloudmask.scenes.geolocation import Geolocation
from cloudmask.scenes.origin import Origin
from cloudmask.scenes.scene import Scene

ORIGIN = Origin(
    product="S3A_SL_1_RBT____20210827T074336_20210827T074636",
    platform="Sentinel-3A",
    start="2021-08-27T07:43:36.110051Z",
    stop="2021-08-27T07:46:35.802102Z",
    baseline="004",
    processor="IPF-SL-1 06.18",
)
UNKNOWN = Origin()
SIZE = (60, 80)


def swath(size=SIZE, north=-2.0, west=29.0):
    """A swath of 1 km pixels, slightly turned, like that of a descending orbit."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    latitude = north - 0.0087 * rows - 0.0018 * columns
    longitude = west - 0.0019 * rows + 0.0088 * columns
    return Geolocation(latitude, (longitude + 180) % 360 - 180)


def prediction(geolocation=None, *, origin=UNKNOWN, confidence=None, size=SIZE, name="S3A_x"):
    """Cloud in the left half, probability .9 there and .1 elsewhere; five columns not measured."""
    probability = np.full((*size, 1), 0.1, np.float32)
    probability[:, : size[1] // 2] = 0.9
    probability[0, 10] = 0.9876
    measured = np.ones((*size, 1), bool)
    measured[:, :5] = False
    labelled = measured.copy()
    labelled[:20] = False
    scene = Scene(
        name=name,
        image=np.zeros((*size, 9), np.float32),
        mask=None,
        measured=measured,
        valid=labelled,
        channels=np.ones(9, bool),
        origin=origin,
        geolocation=geolocation,
        confidence=confidence,
    )
    return Prediction(scene, probability, threshold=0.5, labels="bayes")
