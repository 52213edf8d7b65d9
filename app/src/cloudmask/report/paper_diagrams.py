"""The paper's figures 1 and 2: how scenes become patches and tiles, as this program cuts them."""

from cloudmask.patches.geometry import PATCH, STRIDE, patch_origins, tile_grid, tile_padding
from cloudmask.report.collection import Collection
from cloudmask.report.drawing import COLORS, GREY, Drawing, axes, handle, legend
from cloudmask.report.published_paper import paper

BLACK = "#000000"
HEIGHT = 4.0  # inches


def training_patches(found: Collection) -> Drawing:
    """The patches of a training scene, and the paper's crop."""
    facts = paper().facts["preprocessing"]
    height, width = facts["scene"]
    crop_height, crop_width = facts["crop"]
    origins = patch_origins(height, width)
    title = "The paper's figure 1: training patches"
    figure, axis = _scene_axes(title, height, width, 3)
    for row, column in origins:
        _box(axis, (column, row), (PATCH, PATCH), COLORS[0])
    top, left = origins[0]
    _box(axis, (left, top), (crop_width, crop_height), BLACK, "--", 2.0)
    handles = [
        handle(f"scene, {height} × {width} pixels", GREY),
        handle(f"these patches: {len(origins)} of {PATCH} × {PATCH}", COLORS[0]),
        handle(
            f"paper: {crop_height} × {crop_width}, {facts['patches']} of {facts['patch']} × "
            f"{facts['patch']}",
            BLACK,
            "--",
        ),
    ]
    legend(figure, handles)
    caption = (
        "Same patches. The paper splits patches into training and validation, its code and this "
        "program split scenes."
    )
    return Drawing("paper_1", title, caption, figure)


def inference_tiles(found: Collection) -> Drawing:
    """The tiles of a whole scene with their zeros, and where the paper's text puts the zeros."""
    facts = paper().facts["preprocessing"]
    height, width = facts["scene"]
    rows, columns = tile_grid(height, width)
    above, left = tile_padding(height)[0], tile_padding(width)[0]
    title = "The paper's figure 2: tiles of inference"
    covered = ((columns - 1) * STRIDE + PATCH, (rows - 1) * STRIDE + PATCH)
    figure, axis = _scene_axes(title, height, width, 3)
    margin = (PATCH - STRIDE) // 2
    for row in range(rows):
        for column in range(columns):
            corner = (column * STRIDE - left + margin, row * STRIDE - above + margin)
            _box(axis, corner, (STRIDE, STRIDE), COLORS[0], width=0.8)
    _box(axis, (-left, -above), covered, COLORS[1], width=1.8)
    _box(axis, (0, 0), covered, BLACK, "--", 1.5)
    axis.set_xlim(-left - 20, covered[0] + 20)
    axis.set_ylim(covered[1] + 20, -above - 20)
    handles = [
        handle(f"centers that are kept of {rows * columns} tiles, {STRIDE} × {STRIDE}", COLORS[0]),
        handle("zeros on all sides: this program and the published code", COLORS[1]),
        handle("zeros on the right and below: the paper's text", BLACK, "--"),
    ]
    legend(figure, handles)
    caption = (
        f"The number of tiles is the paper's, {facts['tiles']}. Its text and its code disagree on "
        "where zeros are added; the published accuracies are by the code."
    )
    return Drawing("paper_2", title, caption, figure)


def _scene_axes(title: str, height: int, width: int, rows: int):
    figure, axis = axes(title, "column", "row", rows, HEIGHT)
    axis.set_aspect("equal")
    axis.grid(visible=False)
    axis.set_xlim(-20, width + 20)
    axis.set_ylim(height + 20, -20)
    _box(axis, (0, 0), (width, height), GREY, width=2.5)
    return figure, axis


def _box(
    axis, corner: tuple[float, float], size: tuple[float, float], color, line="-", width=1.0
) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(
        Rectangle(corner, *size, fill=False, edgecolor=color, linestyle=line, linewidth=width)
    )
