"""Segments from elsewhere, such as those of SAM or parcels: which of them each pixel of a raster belongs to."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.enums import Resampling
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window, transform

from sgovss.errors import InputError
from sgovss.rasters import ogr
from sgovss.rasters.area_of_interest import vector_name
from sgovss.rasters.areas import on_ground
from sgovss.rasters.options import SceneOptions, file_and_layer
from sgovss.rasters.source import RasterSource

OUTSIDE = np.int64(np.iinfo(np.int64).min)
"""The number of pixels that are in no segment."""

_POINTS = 21  # a side of an extent is divided into this many parts, because lines bend between projections
_INDEXED = ("GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB", "Parquet", "SQLite")  # parts are found quickly
_BATCH = 10_000  # features that are read at once


class Segments(Protocol):
    """Segments over a raster. Each has a number."""

    def __call__(self, window: Window) -> np.ndarray:
        """The numbers of the segments of the pixels of a window: (h, w) int64, :data:`OUTSIDE` where there is none.

        Several threads may call it.
        """


class Features(NamedTuple):
    """Some features of a vector file.

    Attributes:
        numbers: (N,) int64, the numbers of the segments.
        shapes: (N,) geometries in the coordinates of the raster.
        fields: values of each attribute, (N,).
    """

    numbers: np.ndarray
    shapes: np.ndarray
    fields: dict[str, np.ndarray]


def open_segments(path: str | Path, source: RasterSource) -> RasterSegments | VectorSegments:
    """Open a file of segments: a raster of their numbers, or polygons.

    Args:
        path: the file, or one of its layers as ``file.gpkg:layer``.
        source: the raster that is segmented.

    Raises:
        InputError: the file is neither, has no segment, or does not overlap with the raster.
    """
    file, layer = file_and_layer(path, "--segments")
    try:
        layers = [str(name) for name, kind in ogr.list_layers(vector_name(file)) if kind is not None]
    except ogr.errors.DataSourceError:
        layers = []
    if layers or layer is not None:
        return VectorSegments(path, layers, source)
    return RasterSegments(path, source)


def check_segments(options: SceneOptions, source: RasterSource) -> None:
    """Check the file of segments of a scene.

    Raises:
        InputError: see :func:`open_segments`; or the polygons of a file are to be simplified.
    """
    assert options.segments is not None
    found = open_segments(options.segments, source)
    if options.simplify and isinstance(found, VectorSegments):
        raise InputError(
            f"--simplify: the polygons of --segments {options.segments} are written as they are; leave out --simplify"
        )


class RasterSegments:
    """The numbers of segments in the first band of a raster, or of a picture of the same size.

    Pixels of its no-data value are in no segment; without such a value, pixels of 0. A raster on another grid is
    brought to that of the scene; each pixel gets the number at its centre.

    Args:
        path: the file.
        source: the raster that is segmented.

    Raises:
        InputError: see :func:`open_segments`; or the file has another size and no georeference.
    """

    def __init__(self, path: str | Path, source: RasterSource) -> None:
        try:
            self._dataset = rasterio.open(path)
        except rasterio.errors.RasterioIOError as error:
            raise InputError(
                f"--segments {path}: neither a raster nor a vector file that can be read ({error})"
            ) from error
        if self._dataset.count != 1 or np.dtype(self._dataset.dtypes[0]).kind not in "iu":
            raise InputError(
                f"--segments {path}: holds {self._dataset.count} bands of {self._dataset.dtypes[0]}; give a raster of "
                "one band of whole numbers, one for each segment"
            )
        self._outside = 0 if self._dataset.nodata is None else self._dataset.nodata
        self._lock = threading.Lock()
        self._raster = self._on_grid_of(source, path)

    def __call__(self, window: Window) -> np.ndarray:
        with self._lock:
            numbers = self._raster.read(1, window=window)
        return np.where(numbers == self._outside, OUTSIDE, numbers.astype(np.int64))

    def _on_grid_of(self, source: RasterSource, path: str | Path) -> Any:
        """The raster, or a view of it on the grid of the scene."""
        raster, size = self._dataset, (source.height, source.width)
        placed = not raster.transform.is_identity
        if raster.shape == size and (not placed or _same_grid(raster, source)):
            return raster
        if not placed or source.transform.is_identity:
            raise InputError(
                f"--segments {path}: has {raster.width} x {raster.height} pixels and {source.name} has {source.width} "
                f"x {source.height}; without the georeference of both, the sizes must be equal"
            )
        crs = raster.crs or source.crs
        bounds = raster.bounds if crs == source.crs else transform_bounds(crs, source.crs, *raster.bounds)
        if not _box(bounds).intersects(_outline(source, Window(0, 0, source.width, source.height))):
            raise _no_overlap(path, source)
        return WarpedVRT(
            raster,
            src_crs=crs,
            crs=source.crs or crs,
            transform=source.transform,
            height=source.height,
            width=source.width,
            resampling=Resampling.nearest,
            src_nodata=self._outside,
            nodata=self._outside,
        )


class VectorSegments:
    """The polygons of a layer. Their numbers are the feature ids.

    A pixel belongs to the polygon in which its centre is; where several overlap, to the last of them in the file, as
    with gdal_rasterize. Memory holds the polygons near a window.

    Args:
        path: the file, or one of its layers as ``file.gpkg:layer``.
        layers: the layers of the file.
        source: the raster that is segmented.

    Raises:
        InputError: see :func:`open_segments`; or the file has several layers and none is named.
    """

    def __init__(self, path: str | Path, layers: list[str], source: RasterSource) -> None:
        if source.georeference.exists and source.transform.is_identity:
            raise InputError(
                f"--segments {path}: {source.name} is georeferenced by {source.georeference.kind}; give --fit-gcps too"
            )
        self._file, wanted = file_and_layer(path, "--segments")
        if wanted is None and len(layers) > 1:
            raise InputError(f"--segments {path}: has several layers; give one, as {path}:{layers[0]}")
        if wanted is not None and wanted not in layers:
            raise InputError(f"--segments {path}: no layer '{wanted}' in this file; it has {', '.join(layers)}")
        self._layer, self._source = wanted or layers[0], source
        self._lock = threading.Lock()
        info = ogr.read_info(vector_name(self._file), layer=self._layer, force_feature_count=True,
                                 force_total_bounds=True)  # fmt: skip
        kind = info["geometry_type"] or "none"
        if not info["features"] or not ("Polygon" in kind or kind in ("Unknown", "GeometryCollection")):
            raise InputError(f"--segments {path}: no polygon in this file; give a file of polygons")
        self._crs, self._driver = info["crs"], info["driver"]
        here = None if source.crs is None else source.crs.to_wkt()
        differ = self._crs is not None and here is not None and pyproj.CRS(self._crs) != pyproj.CRS(here)
        self._from = pyproj.Transformer.from_crs(self._crs, here, always_xy=True) if differ else None
        if not _box(info["total_bounds"]).intersects(_box(self._bounds(Window(0, 0, source.width, source.height)))):
            raise _no_overlap(path, source)

    def __call__(self, window: Window) -> np.ndarray:
        found = self._read(columns=[], bbox=self._bounds(window))
        size = int(window.height), int(window.width)
        order = np.argsort(found.numbers)
        shapes = [(found.shapes[i], number) for number, i in enumerate(order, 1) if found.shapes[i].area > 0]
        if not shapes:
            return np.full(size, OUTSIDE)
        burned = rasterize(shapes, size, transform=transform(window, self._source.transform), dtype="int32")
        return np.concatenate([[OUTSIDE], found.numbers[order]])[burned]

    def batches(self) -> Iterator[Features]:
        """All features with their attributes, some at a time."""
        first = 0
        while len((found := self._read(skip_features=first, max_features=_BATCH)).numbers):
            yield found
            first += _BATCH

    def _read(self, **options: Any) -> Features:
        with self._lock:  # several threads must not write the copy
            name = self._indexed
        metadata, numbers, geometries, values = ogr.raw.read(
            name, layer=self._layer, return_fids=True, force_2d=True, **options
        )
        shapes = shapely.from_wkb(geometries)
        shapes = np.where(shapely.is_missing(shapes), shapely.Polygon(), shapes)
        if self._from is not None:
            shapes = shapely.transform(shapes, self._from.transform, interleaved=False)
        return Features(numbers, shapes, dict(zip(metadata["fields"], values, strict=True)))

    def _bounds(self, window: Window) -> tuple[float, float, float, float]:
        """The extent of a window in the coordinates of the file."""
        left, bottom, right, top = _outline(self._source, window).bounds
        if self._from is None:
            return left, bottom, right, top
        return self._from.transform_bounds(left, bottom, right, top, densify_pts=_POINTS, direction="INVERSE")

    @cached_property
    def _indexed(self) -> str:
        """The name of the file, or of a copy of it whose parts are found without reading all of it."""
        if self._driver in _INDEXED:
            return vector_name(self._file)
        self._copies = tempfile.TemporaryDirectory()
        copy = Path(self._copies.name) / "segments.gpkg"
        with ogr.open_arrow(vector_name(self._file), layer=self._layer, use_pyarrow=False) as (metadata, stream):
            ogr.write_arrow(
                stream, copy, driver="GPKG", layer=self._layer, crs=self._crs, geometry_type="Unknown",
                geometry_name=metadata["geometry_name"] or "wkb_geometry",
            )  # fmt: skip
        return str(copy)


def _same_grid(raster: rasterio.io.DatasetReader, source: RasterSource) -> bool:
    same_crs = raster.crs is None or source.crs is None or raster.crs == source.crs
    close = raster.transform.almost_equals(source.transform, 1e-6 * abs(source.transform.a + source.transform.b))
    return same_crs and close


def _outline(source: RasterSource, window: Window) -> shapely.Polygon:
    """The outline of a window on the ground."""
    here: Affine = transform(window, source.transform)
    width, height = window.width, window.height
    return shapely.Polygon([on_ground(here, *at) for at in ((0, 0), (width, 0), (width, height), (0, height))])


def _box(bounds: Any) -> shapely.Polygon:
    return shapely.box(*bounds)


def _no_overlap(path: str | Path, source: RasterSource) -> InputError:
    return InputError(f"--segments {path}: does not overlap with {source.name}; check the coordinates of both")
