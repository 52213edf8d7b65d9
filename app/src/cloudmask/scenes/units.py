"""What the numbers of a scene look like if they cannot be reflectances and kelvin."""

import numpy as np

from cloudmask.scenes.slstr import REFLECTANCE_RANGE, TEMPERATURE_RANGE

PERCENT = 1000.0  # the largest that a reflectance in percent may be
SCALED = 20_000.0  # the largest of one that was multiplied by 10,000
CELSIUS = (-150.0, 99.0)  # degrees that a brightness temperature may have


def likely_unit(reflectance: np.ndarray, temperature: np.ndarray) -> str:
    """What S1 to S6 (H, W, 6) or S7 to S9 (H, W, 3) look like, in words for a message.

    "" if they look like reflectances and kelvin, or like fill alone. Of the reflectances the 99th
    percentile decides, since clear sea is dark in any unit; of the temperatures the median.
    """
    low, high = REFLECTANCE_RANGE
    values = reflectance[np.isfinite(reflectance)]
    values = values[(values > low) & (values <= SCALED)]
    bright = float(np.percentile(values, 99)) if values.size else 0.0
    if bright > high:
        unit = "percent" if bright <= PERCENT else "reflectance times 10,000"
        return (
            f"S1 to S6 look like {unit} (99 % are below {bright:.4g}); expected reflectance, 0 to 1"
        )
    values = temperature[np.isfinite(temperature)]
    values = values[(values != 0) & (np.abs(values) < PERCENT)]  # without the usual fill
    middle = float(np.median(values)) if values.size else TEMPERATURE_RANGE[0]
    if CELSIUS[0] < middle < CELSIUS[1]:
        return f"S7 to S9 look like degrees Celsius (median {middle:.4g}); expected kelvin"
    return ""
