"""The area of interest: polygons of a vector file as a mask of the pixels of a raster."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pyproj
import shapely
from affine import Affine
from rasterio.features import geometry_mask
from rasterio.windows import Window, transform

from sgovss.errors import InputError
from sgovss.rasters import ogr
from sgovss.rasters.areas import on_ground
from sgovss.rasters.names import absolute_name
from sgovss.rasters.options import file_and_layer
from sgovss.rasters.source import RasterSource

_POINTS = 64  # a side of the raster's extent is divided into this many parts, because lines bend between projections
_MARGIN = 0.05  # of the extent, by which it is enlarged for the same reason
_LIMB = 81.5, 80, -0.05  # degrees from the point below a geostationary satellite; it sees as far as about 81.3


class AreaOfInterest:
    """The polygons of a vector file as a mask of the pixels of a raster.

    Args:
        path: a file of polygons that OGR reads, whose layers all count; or a file and a layer, ``file.gpkg:layer``.
        source: the raster; polygons are transformed to its coordinates.

    Attributes:
        remarks: lines for the user on what was found.

    Raises:
        InputError: the file is not a vector file, has no polygon, has coordinates that cannot be transformed, or does
            not overlap with the raster.
    """

    def __init__(self, path: str | Path, source: RasterSource) -> None:
        if source.georeference.exists and source.transform.is_identity:
            raise InputError(
                f"--aoi {path}: {source.name} is georeferenced by {source.georeference.kind}; give --fit-gcps too"
            )
        layers, self.remarks = _layers(path)
        found = [shape for crs, shapes in layers for shape in _near(shapes, crs, source, path)]
        if not found:
            raise _no_overlap(path, source)
        self._transform = source.transform
        self._index = shapely.STRtree(found)
        self._polygons = found
        if not self(Window(0, 0, source.width, source.height), coarse=True).any():
            raise _no_overlap(path, source)

    def __call__(self, window: Window, coarse: bool = False) -> np.ndarray:
        """Compute which pixels of a window are inside the polygons.

        Args:
            window: window of the raster in pixels.
            coarse: shrink the mask to at most 512 pixels along a side, and include all pixels that a polygon touches.

        Returns:
            (height, width) bool; true for pixels whose centre is inside.
        """
        height, width = int(window.height), int(window.width)
        here = transform(window, self._transform)
        if coarse:
            factor = max(1.0, max(height, width) / 512)
            height, width, here = math.ceil(height / factor), math.ceil(width / factor), _coarser(here, factor)
        corners = [on_ground(here, *corner) for corner in ((0, 0), (width, 0), (width, height), (0, height))]
        near = self._index.query(shapely.Polygon(corners))
        if not len(near):
            return np.zeros((height, width), bool)
        found = [self._polygons[i] for i in near]
        return geometry_mask(found, (height, width), here, invert=True, all_touched=coarse)


def _layers(path: str | Path) -> tuple[list[tuple[str | None, list[shapely.Geometry]]], list[str]]:
    """Read the polygons of a file: CRS as text and shapes of each layer that has any; and lines for the user."""
    file, layer = file_and_layer(path)
    name = vector_name(file)
    try:
        names = [str(found) for found, _ in ogr.list_layers(name)]
        if layer is not None and layer not in names:
            raise InputError(f"--aoi {path}: no layer '{layer}' in this file; it has {', '.join(names)}")
        read = [ogr.raw.read(name, layer=found, columns=[]) for found in names if layer in (None, found)]
    except (ogr.errors.DataSourceError, ogr.errors.DataLayerError) as error:
        raise InputError(
            f"--aoi {path}: not a vector file that can be read ({error}); give one such as a GeoPackage or GeoJSON"
        ) from error
    several = f"--aoi {path}: the polygons of all its layers are used: {', '.join(names)}"
    result = []
    for metadata, _, geometries, _ in read:
        shapes = [] if geometries is None else shapely.from_wkb(geometries)
        polygons = [shape for shape in shapes if shape is not None and shape.area > 0]
        if polygons:
            result.append((metadata["crs"], polygons))
    if not result:
        raise InputError(f"--aoi {path}: no polygon in this file; give a file of polygons")
    return result, [several] if len(read) > 1 else []


def vector_name(file: str) -> str:
    """Return the name that OGR gets. In a path, pyogrio takes '!' for the border of an archive, but not after /vsi."""
    name = absolute_name(file)
    return f"/vsisubfile/0_-1,{name}" if "!" in name and Path(file).is_file() else name


def _near(
    polygons: list[shapely.Geometry], crs: str | None, source: RasterSource, path: str | Path
) -> list[shapely.Geometry]:
    """Return the parts of polygons near a raster, in its coordinates.

    Far parts are cut off first: a projection maps places outside of its range anywhere, or nowhere.
    """
    if source.crs is None or crs is None:
        return polygons
    try:
        back = pyproj.Transformer.from_crs(source.crs.to_wkt(), crs, always_xy=True)
        across = pyproj.Transformer.from_crs(crs, source.crs.to_wkt(), always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise InputError(
            f"--aoi {path}: its coordinates cannot be transformed to those of {source.name} ({error}); write it in the "
            "coordinates of the scene, for example with 'ogr2ogr -t_srs'"
        ) from error
    # Longitudes may be given as 170 to 190, or 0 to 360.
    turns = (0, -360, 360) if pyproj.CRS(crs).is_geographic else (0,)
    result = []
    boxes = _extents(source, back)
    if not boxes and pyproj.CRS(crs).is_geographic:
        boxes = _visible_disk(source, back, across)
    for box, turn in product(boxes or [shapely.box(*shapely.total_bounds(polygons))], turns):
        step = max(box.bounds[2] - box.bounds[0], box.bounds[3] - box.bounds[1]) / _POINTS
        for part in shapely.intersection(shapely.make_valid(_moved(polygons, turn)), box):
            if part.area > 0:
                bent = shapely.transform(shapely.segmentize(part, step), across.transform, interleaved=False)
                if not np.isfinite(shapely.get_coordinates(bent)).all():
                    raise InputError(
                        f"--aoi {path}: lies where the projection of {source.name} is not defined; check both"
                    )
                result.append(bent)
    return result


def _extents(source: RasterSource, back: pyproj.Transformer) -> list[shapely.Polygon]:
    """Return the extent of a raster in other coordinates, a little enlarged: a box, or two at the antimeridian.

    A raster of the whole earth has no finite extent in many projections. Then there is no box, and nothing is cut off.
    """
    corners = [on_ground(source.transform, x, y) for x in (0, source.width) for y in (0, source.height)]
    xs, ys = zip(*corners, strict=True)
    try:
        left, bottom, right, top = back.transform_bounds(min(xs), min(ys), max(xs), max(ys), densify_pts=_POINTS)
    except pyproj.exceptions.ProjError:
        return []
    if not np.isfinite([left, bottom, right, top]).all():
        return []
    parted = left > right  # by the antimeridian, in degrees
    pad_x, pad_y = _MARGIN * (right - left + 360 * parted), _MARGIN * (top - bottom)
    left, bottom, right, top = left - pad_x, bottom - pad_y, right + pad_x, top + pad_y
    sides = [(left, 180.0), (-180.0, right)] if parted else [(left, right)]
    return [shapely.box(west, bottom, east, top) for west, east in sides]


def _visible_disk(source: RasterSource, back: pyproj.Transformer, across: pyproj.Transformer) -> list[shapely.Polygon]:
    """Return the part of the earth that a geostationary satellite sees, in degrees; none for other projections."""
    operation = pyproj.CRS(source.crs.to_wkt()).coordinate_operation if source.crs else None
    if operation is None or not operation.method_name.startswith("Geostationary"):
        return []
    below, _ = back.transform(0, 0)
    around = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    for radius in np.radians(np.arange(*_LIMB)):
        latitudes = np.degrees(np.arcsin(np.sin(radius) * np.cos(around)))
        longitudes = below + np.degrees(np.arctan2(np.sin(radius) * np.sin(around), np.cos(radius)))
        if np.isfinite(across.transform(longitudes, latitudes)).all():
            return [shapely.Polygon(zip(longitudes, latitudes, strict=True))]
    return []


def _moved(polygons: list[shapely.Geometry], turn: int) -> list[shapely.Geometry]:
    """Polygons with so many degrees more of longitude."""
    return list(shapely.transform(polygons, lambda x, y: (x + turn, y), interleaved=False)) if turn else polygons


def _no_overlap(path: str | Path, source: RasterSource) -> InputError:
    return InputError(f"--aoi {path}: does not overlap with {source.name}; check the coordinates of both")


def _coarser(transform: Affine, factor: float) -> Affine:
    a, b, c, d, e, f = tuple(transform)[:6]
    return Affine(a * factor, b * factor, c, d * factor, e * factor, f)
