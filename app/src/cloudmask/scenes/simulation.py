"""Make scenes that look and behave like SLSTR's, with the true cloud field and two imperfect masks.

A surface (sea, coast, lakes, vegetation, desert, snow) lies under up to four kinds of cloud; what
the nine channels see of it follows simple radiative rules. The masks are not functions of what can
be seen: they also depend on hidden fields, such as a background temperature that is wrong by
region, so a network that imitates a mask does not learn all of its errors.

One pixel is 1 km whatever the size of a scene. Every scene has its own random stream, made of seed,
part of the data set and number, so it is the same however many others are made beside it.
"""

from dataclasses import dataclass

import numpy as np

SIZE = (1200, 1500)  # pixels of a published scene
PARTS = ("training", "inference")

# Fraction of columns that the swath leaves unfilled, 3.7 % in the product that was measured. It is
# on each side less than the 110 of 1500 columns that the published crop removes.
FILL = 0.037

# How far off a hidden, regional prior of the Bayesian mask is, in units of evidence.
PRIOR_ERROR = 1.2

NIGHT = 0.35  # fraction of the scenes
CLOUD_TAU = 0.3  # visible optical depth from which a pixel counts as cloud

# Reflectance of surfaces and brightness of thick cloud, S1 to S6: round figures after the shape of
# published spectra (green leaves, dry sand, fresh snow). S4 (1.375 um) is dark because water vapour
# near the ground absorbs it.
SEA = (0.050, 0.032, 0.022, 0.001, 0.015, 0.012)
VEGETATION = (0.070, 0.050, 0.320, 0.001, 0.200, 0.090)
DESERT = (0.240, 0.400, 0.490, 0.002, 0.620, 0.560)
SNOW = (0.880, 0.860, 0.800, 0.004, 0.120, 0.080)
WATER_CLOUD = (0.900, 0.900, 0.880, 0.010, 0.740, 0.580)
ICE_CLOUD = (0.900, 0.900, 0.880, 0.600, 0.400, 0.300)

# Noise of one pixel: reflectance S1 to S6; kelvin S7 to S9. A little over the instrument's, since
# the surface varies below the scale of the fields.
REFLECTANCE_NOISE = 0.004
TEMPERATURE_NOISE = (0.30, 0.15, 0.15)

# Flag bits of the product's `bayes_in`.
SINGLE_LOW, SINGLE_MODERATE = 1, 2


@dataclass(frozen=True)
class SimulatedScene:
    """A scene in the units of the published files.

    refs: (H, W, 6) float32 reflectance. bts: (H, W, 3) float32 kelvin. Both NaN outside the swath.
    bayes: (H, W, 1) uint8 flag bits. summary, cloud_truth: (H, W, 1) uint8,
    1 cloud; cloud_truth is the simulated field that the masks only approximate.
    """

    refs: np.ndarray
    bts: np.ndarray
    bayes: np.ndarray
    summary: np.ndarray
    cloud_truth: np.ndarray


@dataclass(frozen=True)
class _Ground:
    refs: np.ndarray  # (6, H, W), without light it is still that of the day
    temperature: np.ndarray  # (H, W) kelvin
    glint: np.ndarray  # (H, W) reflectance that sun glint adds
    snow: np.ndarray  # (H, W) fraction
    land: np.ndarray  # (H, W) bool
    lakes: np.ndarray  # (H, W) bool, water in land


@dataclass(frozen=True)
class _Layer:
    tau: np.ndarray  # (H, W) visible optical depth
    top: np.ndarray  # (H, W) kelvin
    ice: bool
    hidden: float  # how much of the evidence for cloud the Bayesian mask misses


@dataclass(frozen=True)
class Spectrum:
    """Power-law spectrum of a random field.

    slope: of the amplitude over the wave number, 1 is rough, 2 smooth. outer, inner: scales in
    pixels beyond and below which there is no more structure. stretch draws it out along `angle`.
    """

    slope: float
    outer: float = 400.0
    inner: float = 0.0
    stretch: float = 1.0
    angle: float = 0.0


def _noise(rng, shape, spectrum: Spectrum) -> np.ndarray:
    """(H, W) float32 random field of a spectrum, mean 0, standard deviation 1."""
    height, width = shape
    ky = np.fft.fftfreq(height).astype(np.float32)[:, None]
    kx = np.fft.rfftfreq(width).astype(np.float32)[None]
    along = np.cos(spectrum.angle) * kx + np.sin(spectrum.angle) * ky
    across = np.cos(spectrum.angle) * ky - np.sin(spectrum.angle) * kx
    k2 = (along * spectrum.stretch) ** 2 + across**2
    amplitude = (k2 + spectrum.outer**-2.0) ** (-spectrum.slope / 2)
    if spectrum.inner:
        amplitude *= np.exp(-k2 * spectrum.inner**2)
    amplitude[0, 0] = 0
    waves = rng.standard_normal((*amplitude.shape, 2), np.float32).view(np.complex64)[..., 0]
    field = np.fft.irfft2(waves * amplitude, shape).astype(np.float32)
    return field / field.std()


def _ramp(x, low, high) -> np.ndarray:
    """0 up to `low`, 1 from `high`, linear between."""
    return np.clip((x - low) / (high - low), 0, 1)


def _spectrum(values) -> np.ndarray:
    """(6, 1, 1) float32, to multiply with fields of (H, W)."""
    return np.asarray(values, np.float32)[:, None, None]


def _ground(rng, shape, day) -> _Ground:
    height = _noise(rng, shape, Spectrum(1.9, outer=700))
    rough = _noise(rng, shape, Spectrum(1.6, outer=60))
    level = rng.uniform(-1.3, 1.3)
    lakes = (rough < -1.9) & (height > level)
    land = (height + 0.12 * rough > level) & ~lakes
    elevation = 0.6 * np.maximum(height - level, 0) * land  # about kilometres

    climate = rng.uniform(262, 301)
    sea = np.maximum(climate + 1.8 * _noise(rng, shape, Spectrum(1.9, outer=500, inner=2)), 271.4)
    soil = climate + (rng.uniform(0, 10) if day else rng.uniform(-6, 0))
    green = _ramp(_noise(rng, shape, Spectrum(1.5, outer=300)) + rng.uniform(-1.4, 1.2), -1, 1)
    # Dry ground is hotter by day and colder by night; 6.5 K per kilometre is the standard lapse.
    dry = (1 - green) * (6 if day else -2)
    warm = soil + dry + 0.6 * rough - 6.5 * elevation
    temperature = np.where(land, warm, sea).astype(np.float32)
    # Cold ground is not always covered: dry winters leave it bare, and then it is merely cold.
    wet = rough + 1.5 * height + rng.uniform(-2, 2)
    snow = _ramp(272.5 - warm, 0, 3) * _ramp(wet, 0, 0.5) * land
    temperature -= snow * np.maximum(temperature - 272, 0)

    refs = _spectrum(DESERT) + green * _spectrum(np.subtract(VEGETATION, DESERT))
    refs += snow * (_spectrum(SNOW) - refs)
    refs = np.where(land, refs, _spectrum(SEA))
    refs *= 1 + 0.08 * rough * land
    glint = np.zeros(shape, np.float32)
    if day and rng.random() < 0.5:
        column = np.arange(shape[1], dtype=np.float32)[None] / shape[1]
        center, width = rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.15)
        waves = 1 + 0.25 * _noise(rng, shape, Spectrum(1.2, outer=80))
        glint = rng.uniform(0.2, 0.5) * np.exp(-(((column - center) / width) ** 2)) * waves * ~land
        refs += glint * _spectrum((1, 1, 1, 0.02, 1, 0.9))
    return _Ground(refs, temperature, glint.astype(np.float32), snow, land, lakes)


def _cumulus(rng, shape, ground) -> _Layer:
    region = _noise(rng, shape, Spectrum(1.8, outer=300))
    cells = _noise(rng, shape, Spectrum(1.5, outer=30, inner=1.0))
    x = cells + 0.9 * region - rng.uniform(0.4, 1.4)
    tau = 6 * np.maximum(x, 0) ** 0.6
    top = ground.temperature - rng.uniform(6, 14) - 4 * np.maximum(x, 0)
    return _Layer(tau, top, ice=False, hidden=0.0)


def _stratus(rng, shape, ground) -> _Layer:
    region = _noise(rng, shape, Spectrum(2.0, outer=350)) + 0.15 * _noise(
        rng, shape, Spectrum(1.2, outer=60)
    )
    # Closed cells of stratocumulus, some eight kilometres wide.
    cells = _noise(rng, shape, Spectrum(1.0, outer=10, inner=1.3))
    x = region - rng.uniform(-0.3, 0.9)
    tau = _ramp(x, 0, 0.15) * (7 + 9 * _ramp(x, 0, 1)) * np.exp(0.45 * cells)
    # Below an inversion the top follows the large scale and hardly the ground: as warm as the sea.
    base = float(np.median(ground.temperature))
    top = base - rng.uniform(0.0, 12.0) + 3.5 * cells + 0.25 * (ground.temperature - base)
    return _Layer(tau, top, ice=False, hidden=0.4)


def _cirrus(rng, shape, ground) -> _Layer:
    streaks = _noise(rng, shape, Spectrum(1.3, outer=250, stretch=5, angle=rng.uniform(0, np.pi)))
    x = streaks - rng.uniform(-0.2, 0.9)
    tau = 2.0 * np.maximum(x, 0)
    return _Layer(tau, np.full(shape, rng.uniform(215, 240), np.float32), ice=True, hidden=0.4)


def _deep(rng, shape, ground) -> _Layer:
    x = _noise(rng, shape, Spectrum(1.7, outer=200)) - rng.uniform(0.2, 1.3)
    tau = 25 * np.maximum(x, 0) ** 1.2
    top = ground.temperature - 22 - 35 * _ramp(x, 0, 0.9)
    return _Layer(tau, np.maximum(top, 203), ice=True, hidden=0.0)


# Each kind with the fraction of scenes that have it; lower layers first.
KINDS = ((_stratus, 0.6), (_cumulus, 0.6), (_deep, 0.4), (_cirrus, 0.4))


def _observe(rng, ground, layers, day) -> tuple[np.ndarray, np.ndarray]:
    """Reflectances (6, H, W) and brightness temperatures (3, H, W) of ground under cloud."""
    refs, t8 = ground.refs, ground.temperature
    # Water vapour takes more from the warm and moist than from the cold, and more in S9 than in S8.
    vapour = _ramp(t8, 270, 305)
    t8 = t8 - 2.5 * vapour
    t9, t7 = t8 - 1.6 * vapour, t8 + 0.5 * vapour
    if day:
        t7 = t7 + 5 * ground.land * (1 - ground.snow) + 40 * ground.glint
    for layer in layers:
        # Two-stream albedo of a scattering layer with asymmetry 0.85; absorption in the window
        # channels is about half of the visible optical depth.
        albedo = layer.tau / (layer.tau + 13)
        clear = np.exp(-0.5 * layer.tau)
        partial_cover = 4 * clear * (1 - clear)
        cloud = _spectrum(ICE_CLOUD if layer.ice else WATER_CLOUD)
        refs = refs * (1 - albedo) ** 2 + albedo * cloud
        t8 = layer.top + clear * (t8 - layer.top)
        # Where cloud is thin, S7 sees more of the warm ground than S8, and S9 less.
        t9 = layer.top + clear * (t9 - layer.top) - (1.8 if layer.ice else 0.4) * partial_cover
        t7 = layer.top + clear * (t7 - layer.top) + (4.0 if layer.ice else 0.5) * partial_cover
        # At 3.7 um droplets reflect the sun, and by night they emit less than at 11 um.
        if day:
            t7 = t7 + (10 if layer.ice else 50) * albedo
        elif not layer.ice:
            t7 = t7 - 6 * (1 - clear)
    refs = refs if day else np.zeros_like(refs)
    haze = rng.uniform(0.01, 0.05) * day
    refs = refs + haze * _spectrum((1, 0.6, 0.3, 0, 0.1, 0.05))
    refs += REFLECTANCE_NOISE * (1 if day else 0.2) * rng.standard_normal(refs.shape, np.float32)
    bts = np.stack((t7, t8, t9)).astype(np.float32)
    bts += _spectrum(TEMPERATURE_NOISE) * rng.standard_normal(bts.shape, np.float32)
    return np.maximum(refs, 0, dtype=np.float32), bts


def make_scene(
    part: str, number: int, size: tuple[int, int] = SIZE, seed: int = 0
) -> SimulatedScene:
    """Scene `number` (from 0) of `part` ("training" or "inference"), H x W pixels as in `size`.

    The same arguments give the same scene.
    """
    rng = np.random.default_rng([seed, PARTS.index(part), number])
    day = bool(rng.random() >= NIGHT)
    ground = _ground(rng, size, day)
    chosen = [kind for kind, fraction in KINDS if rng.random() < fraction] or [_cumulus]
    layers = [kind(rng, size, ground) for kind in chosen]
    refs, bts = _observe(rng, ground, layers, day)
    truth = sum(layer.tau for layer in layers) > CLOUD_TAU
    bayes = _bayes(rng, ground, layers)
    summary = _summary(rng, refs, bts, truth)
    fill = _fill(rng, size)
    refs[:, fill] = bts[:, fill] = np.nan
    planes = (np.where(fill, 0, plane).astype(np.uint8) for plane in (bayes, summary, truth))
    return SimulatedScene(
        np.ascontiguousarray(refs.transpose(1, 2, 0)),
        np.ascontiguousarray(bts.transpose(1, 2, 0)),
        *(plane[..., None] for plane in planes),
    )


def _bayes(rng, ground, layers) -> np.ndarray:
    """(H, W) uint8 flag bits of an imperfect Bayesian mask.

    Evidence grows with optical depth; warm and thin cloud gives less of it, snow, glint and lakes
    give some without cloud. A hidden field stands for a prior that is wrong by region.
    """
    shape = ground.land.shape
    tau = sum(layer.tau for layer in layers) + 1e-3
    evidence = np.clip(np.log(tau / CLOUD_TAU), -2.4, 2.4)
    evidence -= sum(layer.hidden * layer.tau for layer in layers) / tau
    evidence += rng.uniform(0, 2.5) * ground.snow + rng.uniform(0, 2.5) * ground.lakes
    evidence += rng.uniform(0, 5) * ground.glint
    evidence += PRIOR_ERROR * _noise(rng, shape, Spectrum(1.5, outer=200))
    evidence += 0.3 * _noise(rng, shape, Spectrum(1.0, outer=20))
    return SINGLE_LOW * (evidence > 0) + SINGLE_MODERATE * (evidence > 0.8)


def _summary(rng, refs, bts, truth) -> np.ndarray:
    """(H, W) bool, summary flag: wrong in other places than the Bayesian mask.

    It finds what is cold for its region, and misses cloud in some.
    """
    cold = bts[1] < np.median(bts[1]) - 6 + 5 * _noise(rng, truth.shape, Spectrum(1.5, outer=250))
    sure = truth & (_noise(rng, truth.shape, Spectrum(1.3, outer=120)) > -1.2)
    return sure | (cold & (refs[4] < 0.5))


def _fill(rng, shape) -> np.ndarray:
    """(H, W) bool, columns at the left and right edge outside the swath; they wander a little."""
    height, width = shape
    row = np.arange(height)[:, None] / 1200
    column = np.arange(width)[None]
    fraction = rng.uniform(0.35, 0.65)
    wander = 0.1 * np.sin(2 * np.pi * (row + rng.random()))
    left = FILL * width * (fraction + wander)
    right = FILL * width * (1 - fraction - wander)
    return (column < left) | (column >= width - right)
