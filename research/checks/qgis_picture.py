"""The picture of docs/qgis.md: a drawn scene, its label map in the colours of its .qml file, and the plugin's labels.

    python -m research.checks.qgis_picture

QGIS is not used. The label map is that of ``sgovss segment``. The plugin's labels are those of a file of ``sgovss
export --format deepness``, run by onnxruntime on one tile as large as the scene.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.transform import from_origin

from sgovss.commands import entry_point
from sgovss.errors import command
from sgovss.export.onnx_file import onnx_session
from sgovss.files import atomic_path
from sgovss.synthetic import generate_image

PICTURE = Path("docs/pictures/qgis.png")
WORDS = "building|roof, road|runway, tree|forest, water|river, bare soil|sand, grass"
_SIDE, _SEED, _METRES = 512, 70_021, 0.3


def read_style(path: Path) -> dict[int, tuple[str, str]]:
    """Read label and colour of each value from a .qml file of a raster with a palette."""
    entries = ElementTree.parse(path).getroot().iter("paletteEntry")
    return {int(entry.attrib["value"]): (entry.attrib["label"], entry.attrib["color"]) for entry in entries}


def paint_style(labels: np.ndarray, style: dict[int, tuple[str, str]]) -> np.ndarray:
    """Labels (H, W) -> picture (H, W, 3) uint8 in the colours of a style; other values are white."""
    picture = np.full((*labels.shape, 3), 255, dtype=np.uint8)
    for value, (_, color) in style.items():
        picture[labels == value] = tuple(bytes.fromhex(color.lstrip("#")))
    return picture


def run_plugin_file(path: Path, image: np.ndarray) -> np.ndarray:
    """Class ids (H, W) that a file for the plugin gives for one tile (H, W, 3) uint8."""
    tile = (image / 255).astype(np.float32).transpose(2, 0, 1)[None]
    return onnx_session(path).run(None, {"images": tile})[0].argmax(axis=1)[0]


def draw(panels: dict[str, np.ndarray], style: dict[int, tuple[str, str]], path: Path) -> None:
    """Write pictures side by side as a PNG, with the labels and colours of a style below them."""
    figure = Figure(figsize=(10.5, 4.2), dpi=90, layout="constrained")
    for axes, (title, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(picture, interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    patches = [Patch(facecolor=color, edgecolor="0.4", label=label) for label, color in style.values()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8, frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Draw the scene, run both commands, write the picture, and print how many labels agree."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.qgis_picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=PICTURE, help=f"default {PICTURE}")
    args = parser.parse_args(argv)
    image = generate_image(_SEED, size=_SIDE, style="b").image
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scene, model = folder / "scene.tif", folder / "model.onnx"
        profile = {"driver": "GTiff", "width": _SIDE, "height": _SIDE, "count": 3, "dtype": "uint8"}
        place = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, _METRES, _METRES)}
        with rasterio.open(scene, "w", **profile, **place) as target:
            target.write(image.transpose(2, 0, 1))
        config = ("--config-file", "sgovss_tiny.yaml")
        where = ("--input", str(scene), "--output", str(folder / "out"), "--precision", "float32")
        words = ("--format", "deepness", "--words", WORDS, "--output", str(model), "--size", str(_SIDE))
        for name, arguments in (("segment", (*config, *where, "--vocabulary", WORDS)), ("export", (*config, *words))):
            if entry_point(name)(arguments):
                return 2
        with rasterio.open(folder / "out" / "scene_labels.tif") as source:
            labels = source.read(1)
        style = read_style(folder / "out" / "scene_labels.qml")
        plugin = run_plugin_file(model, image)
    panels = {
        "drawn scene": image,
        "sgovss segment, colours of the .qml": paint_style(labels, style),
        "exported file, one tile, same colours": paint_style(plugin, style),
    }
    draw(panels, style, args.output)
    print(f"{args.output}: {(labels == plugin).mean():.2%} of the labels agree")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
