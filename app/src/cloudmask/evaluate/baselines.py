"""The two reference classifiers of cloud masking: a fixed threshold test and naive Bayes.

Both look at one pixel at a time. A network, which sees the pixel's surroundings, has to do better.
Pure NumPy; images are normalized as by `scenes.read_scene`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cloudmask.patches.store import CLOUD, INVALID
from cloudmask.scenes.slstr import (
    CHANNELS,
    REFLECTANCE_OFFSET,
    TEMPERATURE_OFFSET,
    TEMPERATURE_SCALE,
)


@dataclass(frozen=True)
class ThresholdTest:
    """Fixed spectral tests: by day bright and not snow, or cold; by night cold, or thin ice cloud.

    bright: reflectance in S2 above which a pixel is cloud, 0.3: a visible test as in Saunders and
        Kriebel (1988) and MOD35, set for one value to serve both sea and all but the barest land.
    snow: normalized difference snow index (S1 - S5) / (S1 + S5) from which a bright pixel is snow,
        0.4 (Dozier 1989; also used in MOD35 and in Landsat's ACCA).
    cold: kelvin in S8 below which a pixel is cloud, 270, a little below freezing sea: the 11 um
        test of MOD35 over ocean. Snow by day has to be colder, `deep`.
    deep: kelvin in S8 below which even a snow-like pixel is cloud, 240.
    cirrus: reflectance in S4 (1.375 um) above which it is high cloud, 0.03 (MOD35).
    thin: kelvin of S7 - S9 by night from which it is thin ice cloud, 5 (MOD35 uses 3.7 - 12 um).
    light: S1 reflectance from which there is light to judge by, 0.01.
    """

    bright: float = 0.30
    snow: float = 0.40
    cold: float = 270.0
    deep: float = 240.0
    cirrus: float = 0.03
    thin: float = 5.0
    light: float = 0.01

    def predict(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 9) normalized image to (H, W, 1) uint8, 1 cloud."""
        s1, s2, s4, s5 = (image[..., k] + REFLECTANCE_OFFSET for k in (0, 1, 3, 4))
        s7, s8, s9 = (image[..., k] * TEMPERATURE_SCALE + TEMPERATURE_OFFSET for k in (6, 7, 8))
        snow = (s1 - s5) > self.snow * np.maximum(s1 + s5, 1e-3)
        snow &= s2 > self.bright / 2
        by_day = (s4 > self.cirrus) | (s8 < self.deep)
        by_day |= ~snow & ((s2 > self.bright) | (s8 < self.cold))
        by_night = (s8 < self.cold) | (s7 - s9 > self.thin)
        return np.where(s1 > self.light, by_day, by_night).astype(np.uint8)[..., None]


class NaiveBayes:
    """Naive Bayes per pixel: every channel votes with its own histogram for cloud and for clear.

    counts: (2, 9, 1282) how often a clear (0) and a cloudy (1) training pixel fell into each bin.
    smoothing: is added to each count (Laplace), so that a bin never seen does not decide alone.
    """

    # 190 to 330 K in steps of 0.11 K, reflectance up to 3.2 in steps of 0.005: fine enough to
    # separate night from dark water.
    EDGES = np.linspace(-3.65, 2.75, 1281).astype(np.float32)

    def __init__(self, counts: np.ndarray, smoothing: float = 1.0):
        self.counts = counts
        bins = counts.shape[2]
        totals = counts.sum(axis=2, keepdims=True)
        log = np.log(counts + smoothing) - np.log(totals + smoothing * bins)
        pixels = totals[:, 0, 0] + smoothing  # A class without a pixel is no error.
        # One number per channel and bin is all that prediction needs: log odds of cloud.
        self._votes = (log[1] - log[0]).astype(np.float32)
        self._prior = np.float32(np.log(pixels[1]) - np.log(pixels[0]))

    @classmethod
    def fit(
        cls, batches: Iterable[tuple[np.ndarray, np.ndarray]], smoothing: float = 1.0
    ) -> "NaiveBayes":
        """Fit on batches of patches (n, 256, 256, 9) and labels (n, 256, 256) uint8.

        Pixels that are INVALID are left out. Memory does not grow with the
        number of batches. Raises ValueError if no pixel is left.
        """
        bins = len(cls.EDGES) + 1
        counts = np.zeros((2, len(CHANNELS), bins), np.int64)
        for patches, labels in batches:
            use = (labels & INVALID) == 0
            pixels, cloud = patches[use], (labels[use] & CLOUD).astype(np.intp)
            for channel in range(len(CHANNELS)):
                index = cls.bins(pixels[:, channel]) + bins * cloud
                counts[:, channel] += np.bincount(index, minlength=2 * bins).reshape(2, bins)
        if not counts.any():
            raise ValueError("no valid pixel to fit naive Bayes on")
        return cls(counts, smoothing)

    @classmethod
    def bins(cls, values: np.ndarray) -> np.ndarray:
        """The bin, 0 to 1281, of each normalized value; the outer ones have no end."""
        return np.searchsorted(cls.EDGES, values.astype(np.float32), side="right")

    def predict_probability(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 9) normalized image to (H, W, 1) float32, probability of cloud."""
        odds = np.full(image.shape[:-1], self._prior)
        for channel, votes in enumerate(self._votes):
            odds += votes[self.bins(image[..., channel])]
        return (0.5 * (1 + np.tanh(0.5 * odds)))[..., None]

    def predict(self, image: np.ndarray) -> np.ndarray:
        """(H, W, 9) normalized image to (H, W, 1) uint8, 1 where cloud is the more probable."""
        return (self.predict_probability(image) > 0.5).astype(np.uint8)
