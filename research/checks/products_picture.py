"""The picture of docs/products.md: labels of a drawn scene, and simplified polygons over the scene.

    python -m research.checks.products_picture

Prints how many vertices the polygons have along the pixels and simplified, the area of gaps and overlaps of the
simplified ones, and the same for polygons that are simplified one by one to as many vertices.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.transform import from_origin

from research.checks.qgis_picture import paint_style, read_style
from sgovss.commands import entry_point
from sgovss.errors import command
from sgovss.files import atomic_path
from sgovss.synthetic import generate_image

PICTURE = Path("docs/pictures/products.jpg")
WORDS = "building|roof, road|runway, tree|forest, water|river, bare soil|sand, grass"
_SIDE, _SEED, _METRES, _TOLERANCE = 512, 70_021, 0.3, "1.5"
_PART = (150, 350)  # rows and columns that the third panel shows


def faults(polygons: Sequence[shapely.Geometry], area: float) -> tuple[float, float]:
    """Area of gaps and of overlaps of polygons that should cover an area without both."""
    whole = shapely.union_all(polygons).area
    return area - whole, sum(polygon.area for polygon in polygons) - whole


def one_by_one(polygons: Sequence[shapely.Geometry], most: int) -> list[shapely.Geometry]:
    """Simplify each polygon by itself, as much as is needed for a number of vertices."""
    low, high = 0.0, 10.0
    for _ in range(20):
        middle = (low + high) / 2
        enough = shapely.get_num_coordinates(shapely.simplify(polygons, middle)).sum() <= most
        low, high = (low, middle) if enough else (middle, high)
    return list(shapely.simplify(polygons, high))


def draw(image: np.ndarray, painted: np.ndarray, polygons: Sequence, colors: Sequence, style: dict, path: Path) -> None:
    """Write the scene, its labels, and polygons (in pixels) over a part of the scene, side by side."""
    figure = Figure(figsize=(11, 4.3), dpi=90, layout="constrained")
    axes = figure.subplots(1, 3)
    titles = "drawn scene", "labels.tif", f"polygons, --simplify {_TOLERANCE}, enlarged"
    for place, title, picture in zip(axes, titles, (image, painted, image), strict=True):
        place.imshow(picture, interpolation="nearest")
        place.set_title(title, fontsize=9)
        place.set_axis_off()
    for polygon, color in zip(polygons, colors, strict=True):
        rings = [shapely.get_coordinates(ring) for ring in (polygon.exterior, *polygon.interiors)]
        axes[2].fill(*polygon.exterior.xy, color=color, alpha=0.25, linewidth=0)
        axes[2].add_collection(LineCollection(rings, colors="white", linewidths=1.2))
    axes[2].set_xlim(*_PART)
    axes[2].set_ylim(*_PART[::-1])
    patches = [Patch(facecolor=color, edgecolor="0.4", label=label) for label, color in style.values()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8, frameon=False)
    with atomic_path(path) as partial:
        figure.savefig(partial, format="jpg", pil_kwargs={"quality": 85})


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Segment the scene twice, write the picture and print the figures."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="python -m research.checks.products_picture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, default=PICTURE, help=f"default {PICTURE}")
    args = parser.parse_args(argv)
    image = generate_image(_SEED, size=_SIDE, style="b").image
    place = from_origin(500_000, 5_000_000, _METRES, _METRES)
    found = {}
    with tempfile.TemporaryDirectory() as temporary:
        scene, out = Path(temporary, "scene.tif"), Path(temporary, "out")
        profile = {"driver": "GTiff", "width": _SIDE, "height": _SIDE, "count": 3, "dtype": "uint8"}
        with rasterio.open(scene, "w", **profile, crs="EPSG:32633", transform=place) as target:
            target.write(image.transpose(2, 0, 1))
        common = ("--config-file", "sgovss_tiny.yaml", "--input", str(scene), "--output", str(out), "--min-area", "10",
                  "--precision", "float32", "--vocabulary", WORDS, "--polygons")  # fmt: skip
        for name, more in (("raw", ()), ("simplified", ("--simplify", _TOLERANCE))):
            if entry_point("segment")((*common, *more)):
                return 2
            _, _, geometries, fields = pyogrio.raw.read(out / "scene_polygons.gpkg", columns=["class_id"])
            found[name] = list(shapely.from_wkb(geometries)), fields[0]
        with rasterio.open(out / "scene_labels.tif") as raster:
            labels = raster.read(1)
        style = read_style(out / "scene_labels.qml")
    (raw, _), (simplified, ids) = found.values()
    number = shapely.get_num_coordinates(simplified).sum()
    for name, polygons in (
        ("along the pixels", raw),
        (f"--simplify {_TOLERANCE}", simplified),
        ("one by one", one_by_one(raw, number)),
    ):
        gaps, overlaps = faults(polygons, (_SIDE * _METRES) ** 2)
        count = shapely.get_num_coordinates(polygons).sum()
        print(f"{name}: {count:,} vertices, gaps {abs(gaps):.2f} m2, overlaps {abs(overlaps):.2f} m2")
    pixels = [shapely.transform(polygon, lambda xy: (xy - [place.c, place.f]) / [place.a, place.e])
              for polygon in simplified]  # fmt: skip
    draw(image, paint_style(labels, style), pixels, [style[int(i)][1] for i in ids], style, args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
