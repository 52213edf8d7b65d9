"""Temperature scaling: probabilities that mean what they say (Guo et al. 2017).

A network is often too sure of itself. Its logits, divided by one number, the temperature, give
probabilities that agree with how often a pixel is cloud; which pixels are cloud above 0.5 stays as
it was. The temperature is fitted on validation patches, in `train/calibration.py`.
"""

import numpy as np

# Probabilities are float32: 1 - 2**-24 is the largest below 1. What lies closer to 0 or 1 counts as
# that close, so that certainty has a finite logit, the same on both sides.
CLOSEST = 2.0**-24
LOGIT_LIMIT = float(np.log1p(-CLOSEST) - np.log(CLOSEST))  # 16.6

# A temperature beyond these says that the network knows nothing, or that nothing could be fitted.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0


def scaled(probability: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of any shape, float32, with their logits divided by `temperature`.

    Monotone; 0.5 stays 0.5 and nothing crosses it. At temperature 1 the result is `probability`
    itself. Raises ValueError for a temperature out of LOWEST_TEMPERATURE to HIGHEST_TEMPERATURE.
    """
    if not LOWEST_TEMPERATURE <= temperature <= HIGHEST_TEMPERATURE:
        raise ValueError(
            f"temperature {temperature:g}; expected {LOWEST_TEMPERATURE:g} to "
            f"{HIGHEST_TEMPERATURE:g}"
        )
    if temperature == 1:
        return probability
    known = np.clip(probability.astype(np.float64), CLOSEST, 1 - CLOSEST)
    logit = np.log(known / (1 - known))
    result = (1 / (1 + np.exp(-logit / temperature))).astype(np.float32)
    # Just above 0.5 a high temperature would be lost in rounding, and a cloud with it.
    above = np.nextafter(np.float32(0.5), np.float32(1))
    return np.where(probability > 0.5, np.maximum(result, above), result)
