"""Facts of the instrument and of the benchmark's preprocessing: channels, units, flag bits.

Channels S1 to S6 are reflectances, S7 to S9 brightness temperatures in kelvin. Class 1 is cloud,
class 0 clear sky. (One sentence of the benchmark's paper calls the output the probability of clear
sky; the published loader sets 1 where the Bayesian cloud flags are set, and that is what counts.)
"""

VISIBLE = ("S1", "S2", "S3", "S4", "S5", "S6")
THERMAL = ("S7", "S8", "S9")
CHANNELS = VISIBLE + THERMAL
REFLECTANCES = len(VISIBLE)

# Normalization of the published code, version 1.1.
REFLECTANCE_OFFSET = 0.5
TEMPERATURE_OFFSET = 270.0  # kelvin
TEMPERATURE_SCALE = 22.0  # kelvin

# A value outside cannot be a measurement and counts as fill: reflectance exceeds 1 in sun glint and
# over clouds at low sun, and the fire channels of SLSTR reach about 500 K.
REFLECTANCE_RANGE = (-1.0, 10.0)
TEMPERATURE_RANGE = (100.0, 550.0)

# SLSTR delivers 1200 x 1500 pixels; this bounds what a damaged header can make us allocate.
MAX_SIDE = 6000

# Bits of `confidence_in`, and the bits of `bayes_in` that are in use: single_low, single_moderate,
# dual_low, dual_moderate. A product without a Bayesian mask holds 255. Source: S3 PDFS 005.1,
# "Product Data Format Specification - SLSTR Level 1".
CONFIDENCE_FLAGS = {
    "coastline": 1,
    "ocean": 2,
    "tidal": 4,
    "land": 8,
    "inland_water": 16,
    "unfilled": 32,
    "cosmetic": 256,
    "duplicate": 512,
    "day": 1024,
    "twilight": 2048,
    "sun_glint": 4096,
    "snow": 8192,
    "summary_cloud": 16384,
    "summary_pointing": 32768,
}
SURFACE_FLAGS = ("coastline", "ocean", "tidal", "land", "inland_water", "snow")
UNFILLED, SUMMARY_CLOUD = CONFIDENCE_FLAGS["unfilled"], CONFIDENCE_FLAGS["summary_cloud"]
COSMETIC, DUPLICATE = CONFIDENCE_FLAGS["cosmetic"], CONFIDENCE_FLAGS["duplicate"]
BAYES_BITS = 15

# Which flags label a pixel: the Bayesian mask, or the summary cloud flag.
LABEL_NAMES = {"bayes": "Bayesian mask", "summary": "summary cloud flag"}
LABEL_SOURCES = tuple(LABEL_NAMES)
