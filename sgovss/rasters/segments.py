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
from rasterio.windows import Window, transform

from sgovss.errors import InputError
from sgovss.files import atomic_path
from sgovss.rasters import ogr
from sgovss.rasters.area_of_interest import vector_name
from sgovss.rasters.areas import on_ground
from sgovss.rasters.coordinate_systems import same_crs
from sgovss.rasters.options import SceneOptions, file_and_layer
from sgovss.rasters.source import RasterSource
from sgovss.rasters.vector_files import without_crs_warning

OUTSIDE = np.int64(np.iinfo(np.int64).min)
"""The number of pixels that are in no segment."""

COPY = "segments.gpkg"
"""Name of the copy of a file of polygons that has no index."""

_POINTS = 21  # a side of an extent is divided into this many parts, because lines bend between projections
_INDEXED = ("GPKG", "FlatGeobuf", "ESRI Shapefile", "OpenFileGDB", "Parquet", "SQLite")  # parts are found quickly
_BATCH = 10_000  # features that are read at once
_BATCH_ANEW = 100_000  # the same, of a file without an index, which is read from its beginning each time


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


def open_segments(
    path: str | Path, source: RasterSource, folder: Path | None = None
) -> RasterSegments | VectorSegments:
    """Open a file of segments: a raster of their numbers, or polygons.

    Args:
        path: the file, or one of its layers as ``file.gpkg:layer``.
        source: the raster that is segmented.
        folder: see :class:`VectorSegments`.

    Raises:
        InputError: the file is neither, has no segment, or does not overlap with the raster.
    """
    file, layer = file_and_layer(path, "--segments")
    try:
        layers = [str(name) for name, kind in ogr.list_layers(vector_name(file)) if kind is not None]
    except ogr.errors.DataSourceError:
        layers = []
    if layers or layer is not None:
        return VectorSegments(path, layers, source, folder)
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
        placed, plain = not raster.transform.is_identity, not source.georeference.exists
        if placed:
            _check_placed(source, path)
        if raster.shape == size and (not placed or plain or _same_grid(raster, source)):
            return raster
        if not placed or plain:
            raise InputError(
                f"--segments {path}: has {raster.width} x {raster.height} pixels and {source.name} has {source.width} "
                f"x {source.height}; without the georeference of both, make the sizes equal"
            )
        _check_overlap(raster.bounds, _transformer(raster.crs and raster.crs.to_wkt(), source, path), source, path)
        crs = source.crs and (raster.crs or source.crs)  # without that of the scene, coordinates count as its own
        return WarpedVRT(
            raster,
            src_crs=crs,
            crs=source.crs,
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
        folder: in which a file without an index is copied to one that has one, or such a copy is found, which is of the
            same file. None, or a folder that does not exist, for a temporary copy.

    Raises:
        InputError: see :func:`open_segments`; or the file has several layers and none is named.
    """

    def __init__(self, path: str | Path, layers: list[str], source: RasterSource, folder: Path | None = None) -> None:
        _check_placed(source, path)
        self._folder = folder
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
        self._from = _transformer(self._crs, source, path)
        _check_overlap(info["total_bounds"], self._from, source, path)

    def __call__(self, window: Window) -> np.ndarray:
        found = self._near(window)
        size = int(window.height), int(window.width)
        shapes = [(shape, number) for number, shape in enumerate(found.shapes, 1) if shape.area > 0]
        if not shapes:
            return np.full(size, OUTSIDE)
        burned = rasterize(shapes, size, transform=transform(window, self._source.transform), dtype="int32")
        return np.concatenate([[OUTSIDE], found.numbers])[burned]

    def batches(self) -> Iterator[Features]:
        """All features with their attributes, some at a time."""
        for part in self._parts():
            yield self._features(*part)

    def _near(self, window: Window) -> Features:
        """The features near a window without attributes, in the order of the file."""
        bounds = _extent(self._source, window, self._from)
        if self._driver in _INDEXED:
            found = self._features(*self._read(vector_name(self._file), columns=[], bbox=bounds))
            numbers = found.numbers
        else:
            with self._lock:  # several threads must not write it
                copy = self._copy
            found = self._features(*self._read(copy, bbox=bounds))
            numbers = found.fields["number"]
        order = np.argsort(found.numbers)
        return Features(numbers[order], found.shapes[order], {})

    def _parts(self, **options: Any) -> Iterator[tuple[Any, ...]]:
        """All features as :meth:`_read` gives them, some at a time."""
        first, count = 0, _BATCH if self._driver in _INDEXED else _BATCH_ANEW
        name = vector_name(self._file)
        while len((part := self._read(name, skip_features=first, max_features=count, **options))[1]):
            yield part
            first += count

    def _read(self, name: str, **options: Any) -> tuple[Any, ...]:
        """Read metadata, feature ids, geometries as WKB, and values of the attributes."""
        return ogr.raw.read(name, layer=self._layer, return_fids=True, force_2d=True, **options)

    def _features(self, metadata: Any, numbers: np.ndarray, geometries: np.ndarray, values: Any) -> Features:
        shapes = shapely.from_wkb(geometries)
        shapes = np.where(shapely.is_missing(shapes), shapely.Polygon(), shapes)
        if self._from is not None:
            shapes = shapely.transform(shapes, self._from.transform, interleaved=False)
        return Features(numbers, shapes, dict(zip(metadata["fields"], values, strict=True)))

    @cached_property
    def _copy(self) -> str:
        """The name of a copy whose parts are found without reading all of it.

        It has the feature ids in the field ``number``, and no attributes: a GeoPackage cannot hold all names that other
        formats can.
        """
        if self._folder is None or not self._folder.is_dir():
            self._temporary = tempfile.TemporaryDirectory()
            self._folder = Path(self._temporary.name)
        copy = self._folder / COPY
        if not copy.is_file():
            with atomic_path(copy) as partial:  # other processes may do the same
                self._write(partial)
        return str(copy)

    def _write(self, copy: Path) -> None:
        copy.unlink()
        with without_crs_warning():
            for _, numbers, geometries, _ in self._parts(columns=[]):
                ogr.raw.write(
                    copy, geometry=geometries, field_data=[numbers], fields=["number"], geometry_type="Unknown",
                    crs=self._crs, driver="GPKG", layer=self._layer, append=copy.exists(),
                )  # fmt: skip


def _check_placed(source: RasterSource, path: str | Path) -> None:
    """Check that a raster has a transform if it is georeferenced, so that others can be brought to it."""
    if source.georeference.exists and source.transform.is_identity:
        raise InputError(
            f"--segments {path}: {source.name} is georeferenced by {source.georeference.kind}; give --fit-gcps too"
        )


def _same_grid(raster: rasterio.io.DatasetReader, source: RasterSource) -> bool:
    same = raster.crs is None or source.crs is None or same_crs(raster.crs, source.crs)
    close = raster.transform.almost_equals(source.transform, 1e-6 * abs(source.transform.a + source.transform.b))
    return same and close


def _transformer(crs: str | None, source: RasterSource, path: str | Path) -> pyproj.Transformer | None:
    """The way to the coordinates of a raster; None if they are the same, or one of the two is not known."""
    here = None if source.crs is None else source.crs.to_wkt()
    try:
        if crs is None or here is None or pyproj.CRS(crs) == pyproj.CRS(here):
            return None
        return pyproj.Transformer.from_crs(crs, here, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        raise InputError(
            f"--segments {path}: its coordinates cannot be transformed to those of {source.name} "
            f"({' '.join(str(error).split())}); give a file in the coordinates of the scene"
        ) from error


def _extent(source: RasterSource, window: Window, way: pyproj.Transformer | None) -> tuple[float, float, float, float]:
    """The extent of a window in the coordinates from which a way leads to those of the raster.

    In degrees, one that crosses the antimeridian reaches around the earth.
    """
    here: Affine = transform(window, source.transform)
    width, height = window.width, window.height
    xs, ys = zip(*(on_ground(here, *at) for at in ((0, 0), (width, 0), (width, height), (0, height))), strict=True)
    left, bottom, right, top = min(xs), min(ys), max(xs), max(ys)
    if way is None:
        return left, bottom, right, top
    left, bottom, right, top = way.transform_bounds(left, bottom, right, top, densify_pts=_POINTS, direction="INVERSE")
    return (left, bottom, right, top) if left <= right else (-180.0, bottom, 180.0, top)


def _check_overlap(bounds: Any, way: pyproj.Transformer | None, source: RasterSource, path: str | Path) -> None:
    whole = _extent(source, Window(0, 0, source.width, source.height), way)
    if not shapely.box(*bounds).intersects(shapely.box(*whole)):
        raise InputError(f"--segments {path}: does not overlap with {source.name}; check the coordinates of both")
