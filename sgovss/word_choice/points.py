"""Labelled points: a table (CSV) or GeoJSON."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sgovss.class_entries import ClassEntry
from sgovss.data.labels import image_size
from sgovss.data.listing import list_images
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary

_LONLAT = "EPSG:4326"  # of GeoJSON, unless it has the member "crs" of its older version

Points = Mapping[str, Sequence[tuple[int, int, int]]]
"""(row, column, class id) by name of the image."""


class Point(NamedTuple):
    """A point of a file.

    Attributes:
        where: the file and the line or number, for messages.
        x, y: column and row in pixels from the upper left corner of ``image``; without an image, on the ground.
        word: name of the class.
        image: name of the image; empty if the point is on the ground.
    """

    where: str
    x: float
    y: float
    word: str
    image: str


def read_points(path: Path, images: Path, classes: Vocabulary) -> tuple[Points, list[str]]:
    """Read points and find the pixels that they are in.

    A table has the columns ``x``, ``y`` and ``class``, and perhaps ``image``; GeoJSON has points with the properties
    ``class`` and perhaps ``image``. With ``image``, x and y are column and row in pixels. Without, they are coordinates
    on the ground: those of the images in a table, longitude and latitude in GeoJSON unless it names a reference system.

    Args:
        path: the file.
        images: folder of the images.
        classes: the classes.

    Returns:
        the points by image, and a line for the user if some are in no image.

    Raises:
        InputError: the file cannot be read, names other classes or images, or an image has no georeference.
    """
    points, crs = _of_geojson(path) if path.suffix.lower() in (".geojson", ".json") else _of_table(path)
    if not points:
        raise InputError(f"--points {path}: no point in this file; give one with points")
    files = {file.relative_to(images).with_suffix("").as_posix(): file for file in list_images(images)}
    owners = {point.word: _class(point, classes) for point in points}
    found: dict[str, list[tuple[int, int, int]]] = {name: [] for name in files}
    ground = [point for point in points if not point.image]
    outside = 0
    if ground:
        places = dict(_located(ground, files, crs))
        outside += len(ground) - len({number for number, _ in places})
        for (number, name), (row, column) in places.items():
            found[name].append((row, column, owners[ground[number].word]))
    sizes = {name: image_size(file) for name, file in files.items()} if len(ground) < len(points) else {}
    for point in points:
        if point.image:
            name = _image(point, files)
            row, column = math.floor(point.y), math.floor(point.x)
            inside = 0 <= row < sizes[name][0] and 0 <= column < sizes[name][1]
            outside += not inside
            if inside:
                found[name].append((row, column, owners[point.word]))
    notes = [f"{path}: {outside} of {len(points)} points are in no image and are not used"] if outside else []
    return found, notes


def _of_table(path: Path) -> tuple[list[Point], str | None]:
    rows = [row for row in csv.reader(_text(path).splitlines()) if row]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if missing := [name for name in ("x", "y", "class") if name not in header]:
        raise InputError(
            f"--points {path}: no column '{missing[0]}' in its first line; it needs the columns x, y, class, and image "
            "if x and y are pixels"
        )
    found = []
    for line, row in enumerate(rows[1:], 2):
        cells = dict(zip(header, (cell.strip() for cell in row), strict=False))
        found.append(_point(f"{path}:{line}", cells.get("x"), cells.get("y"), cells))
    return found, None


def _of_geojson(path: Path) -> tuple[list[Point], str | None]:
    try:
        content = json.loads(_text(path))
        features = content["features"]
        crs = content.get("crs") or {"properties": {"name": _LONLAT}}
        shapes = [(each.get("geometry") or {}, each.get("properties") or {}) for each in features]
        name = str(crs["properties"]["name"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"--points {path}: no GeoJSON with features; export the points as GeoJSON or CSV") from error
    found = []
    for number, (geometry, properties) in enumerate(shapes, 1):
        where = f"{path}: feature {number}"
        if geometry.get("type") != "Point":
            raise InputError(f"{where}: a {geometry.get('type')}, not a Point; give points, or label images")
        x, y = [*(geometry.get("coordinates") or ()), None, None][:2]
        found.append(_point(where, x, y, properties))
    return found, name


def _point(where: str, x: Any, y: Any, cells: Mapping[str, Any]) -> Point:
    try:
        across, down = float(x), float(y)
    except (TypeError, ValueError):
        raise InputError(f"{where}: x and y are '{x}' and '{y}'; give two numbers") from None
    word = cells.get("class")
    if not (math.isfinite(across) and math.isfinite(down)) or not word:
        raise InputError(f"{where}: a coordinate is not finite, or there is no class; complete or remove the point")
    return Point(where, across, down, str(word), str(cells.get("image") or ""))


def _class(point: Point, classes: Vocabulary) -> int:
    match = classes.match(ClassEntry(point.word))
    if match is None:
        raise InputError(
            f"{point.where}: '{point.word}' is none of the classes {', '.join(classes.names)}; correct it, or name its "
            "class in --vocabulary"
        )
    return classes.classes.index(match.entry)


def _image(point: Point, files: Mapping[str, Path]) -> str:
    name = Path(point.image).with_suffix("").as_posix()
    for each in (point.image, name):
        if each in files:
            return each
    raise InputError(f"{point.where}: no image '{point.image}' in the folder of --images; correct its name")


def _located(
    points: Sequence[Point], files: Mapping[str, Path], crs: str | None
) -> Iterator[tuple[tuple[int, str], tuple[int, int]]]:
    """Find points on the ground: ((number of the point, image), (row, column)) for each image that a point is in."""
    try:
        import rasterio
        from rasterio.errors import RasterioError
        from rasterio.transform import rowcol
        from rasterio.warp import transform

        from sgovss.rasters.gdal import gdal_environment
    except ImportError as error:
        raise InputError(
            f"{points[0].where}: a point without image is on the ground, which needs: pip install 'sgovss[geo]'; or "
            "add a column 'image', with x and y in pixels"
        ) from error
    for name, file in files.items():
        try:
            with gdal_environment(), rasterio.open(file) as raster:
                own, place, size = raster.crs, raster.transform, raster.shape
            if own is None:
                raise InputError(
                    f"{file}: has no georeference, and points without image are on the ground; add a column 'image', "
                    "with x and y in pixels"
                )
            xs, ys = [point.x for point in points], [point.y for point in points]
            if crs is not None:
                xs, ys = transform(crs, own, xs, ys)
        except RasterioError as error:
            raise InputError(
                f"{file}: the points cannot be located in it ({error}); add a column 'image', with x and y in pixels"
            ) from error
        for number, (row, column) in enumerate(zip(*rowcol(place, xs, ys), strict=True)):
            if 0 <= row < size[0] and 0 <= column < size[1]:
                yield (number, name), (int(row), int(column))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"--points {path}: cannot read this file ({error.strerror}); correct the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--points {path}: is not UTF-8 text; export the points as CSV or GeoJSON") from error
