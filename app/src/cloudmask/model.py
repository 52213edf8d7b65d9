"""The published network: a U-Net of three levels. Keras only, so that any Keras backend runs it."""

from typing import Any

LEVELS = 3
# Height and width of the input must be multiples of this: each level halves them once.
FACTOR = 2**LEVELS

# How far an output pixel looks, in input pixels to each side: two 3 x 3 convolutions at each level
# on the way down (2, 4, 8), at the bottom (16) and on the way up (8, 4, 2), and up to FACTOR - 1
# for the alignment of the pooling windows.
REACH = 2 * (2 + 4 + 8) + 16 + FACTOR - 1

PUBLISHED_PARAMETERS = 1_948_609


def unet(
    input_shape: tuple[int | None, int | None, int] = (256, 256, 9),
    filters: int = 32,
    precision: str = "float32",
    deterministic: bool = False,
) -> Any:
    """Build the U-Net as a `keras.Model`: (N, H, W, 9) to cloud probability (N, H, W, 1) float32.

    With the published 32 filters it has 1,948,609 parameters in 39 layers. H and W are multiples of
    8, or None for any such size. `precision` is a Keras dtype policy ("float32",
    "mixed_bfloat16", "mixed_float16"); weights and the last layer stay in float32, since a
    probability needs more digits than half precision has.

    `deterministic` up-samples by laying copies side by side, for a fixed input shape: the same
    numbers and weights, but a gradient that is deterministic on GPUs under Keras 2 as well, whose
    own up-sampling is not.
    """
    import keras
    from keras import layers

    enlarge = _copied if deterministic else _up_sampled
    inputs = keras.Input(input_shape)
    x, skips = inputs, []
    for level in range(LEVELS):
        x = _convolved(x, filters * 2**level, precision)
        skips.append(x)
        x = layers.MaxPooling2D(2, dtype=precision)(x)
    x = _convolved(x, filters * 2**LEVELS, precision)
    for level in reversed(range(LEVELS)):
        x = enlarge(x, precision)
        x = layers.Concatenate(dtype=precision)([x, skips[level]])
        x = _convolved(x, filters * 2**level, precision)
    outputs = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="unet")


def _convolved(x: Any, filters: int, precision: str) -> Any:
    """Two 3 x 3 convolutions, each with its activation."""
    from keras import layers

    for _ in range(2):
        x = layers.Conv2D(
            filters, 3, padding="same", kernel_initializer="he_normal", dtype=precision
        )(x)
        x = layers.Activation("relu", dtype=precision)(x)
    return x


def _up_sampled(x: Any, precision: str) -> Any:
    from keras import layers

    return layers.UpSampling2D(2, interpolation="nearest", dtype=precision)(x)


def _copied(x: Any, precision: str) -> Any:
    """The same as `_up_sampled`, of copies laid side by side."""
    from keras import layers

    _, height, width, count = x.shape
    x = layers.Concatenate(axis=3, dtype=precision)([x, x])
    x = layers.Reshape((height, 2 * width, count), dtype=precision)(x)
    x = layers.Concatenate(axis=2, dtype=precision)([x, x])
    return layers.Reshape((2 * height, 2 * width, count), dtype=precision)(x)


def weight_shapes(filters: int) -> list[tuple[int, ...]]:
    """Shapes of the weights of `unet(filters=filters)`, kernel and bias of each layer in turn."""
    widths = [filters * 2**level for level in range(LEVELS + 1)]
    layers, inputs = [], 9
    for width in widths:
        layers += [(inputs, width), (width, width)]
        inputs = width
    for width in reversed(widths[:-1]):
        layers += [(inputs + width, width), (width, width)]
        inputs = width
    shapes: list[tuple[int, ...]] = []
    for before, width in layers:
        shapes += [(3, 3, before, width), (width,)]
    return [*shapes, (1, 1, filters, 1), (1,)]


def filters_of(model: Any) -> int:
    """Filters of the first level of a network built by `unet`."""
    return int(model.weights[0].shape[-1])
