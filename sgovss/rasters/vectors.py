"""Write the regions of a label raster as polygons: GeoPackage, GeoParquet, FlatGeobuf or GeoJSON."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyproj
import rasterio
import shapely
from affine import Affine

from sgovss.files import atomic_path
from sgovss.rasters.areas import PixelAreas, ground_sample_distances, pixel_areas
from sgovss.rasters.coverage import Tolerance
from sgovss.rasters.grid import TILE
from sgovss.rasters.polygons import Region, regions
from sgovss.vocabulary import Vocabulary

_POLYGONS = 10_000  # written in one batch
_PIXELS = 2**24  # read at once
_METRES = 5_000.0  # longest side of which the geodesic is close to the straight line
_LAYER = "classes"


def rows_at_once(width: int) -> int:
    """Choose a number of rows, so that their pixels take bounded memory: whole tiles, at most 2048."""
    return TILE * max(1, min(4, _PIXELS // (TILE * width)))


def write_polygons(
    path: Path,
    labels: Path,
    legend: Vocabulary,
    source: str | None = None,
    tolerance: Tolerance | None = None,
    working: Path | None = None,
    rows: int | None = None,
) -> int:
    """Write the regions of a label raster.

    Fields are ``id`` (from 1), ``class``, ``class_id``, ``area_m2``, ``score`` and ``source``. The area is geodesic, in
    square metres, or null if the raster is not georeferenced. The score is the mean of the pixels' scores in 0..1, or
    null without a band of scores. Regions are 4-connected. Memory holds the regions of some rows, and those that reach
    beyond them.

    Args:
        path: file to write; its suffix gives the format. GeoJSON is in degrees, as its standard demands.
        labels: the label raster; see :func:`sgovss.rasters.geotiff.create_labels`.
        legend: its classes.
        source: name of the scene; by default that of the label raster.
        tolerance: by which borders are simplified; None leaves them along the pixels.
        working: a GeoPackage that is written first, and does not remain; by default beside ``path``.
        rows: number of rows that are read at once; by default :func:`rows_at_once`.

    Returns:
        the number of polygons.
    """
    working, source = working or path.with_name(f".{path.name}.gpkg"), source or labels.name
    working.unlink(missing_ok=True)
    total = 0
    with rasterio.open(labels) as raster:
        crs = None if raster.crs is None else raster.crs.to_wkt()
        on_earth = pixel_areas(raster.crs, raster.transform)
        longest = _longest(raster)
        found = regions(raster, rows or rows_at_once(raster.width), tolerance)
        for batch in _batches(found):
            polygons = [_placed(region.polygon, raster.transform) for region in batch]
            dense = shapely.segmentize([region.polygon for region in batch], longest)
            areas = [_area(_placed(polygon, raster.transform), on_earth) for polygon in dense]
            _append(working, polygons, _fields(batch, areas, legend, source, total), crs, append=total > 0)
            total += len(batch)
    with atomic_path(path) as partial:
        partial.unlink()
        _convert(working, partial, path.suffix, crs)
    working.unlink(missing_ok=True)
    return total


def _longest(raster: rasterio.io.DatasetReader) -> float:
    """The length in pixels above which the sides of polygons are divided before areas are computed."""
    gsd = ground_sample_distances(raster.crs, raster.transform, raster.height, raster.width)
    return math.inf if gsd is None else max(1.0, _METRES / max(gsd))


def _batches(found: Iterator[Region]) -> Iterator[list[Region]]:
    """Group regions into batches; one of them, which may be empty, if there is no region."""
    yield [*islice(found, _POLYGONS)]
    while batch := [*islice(found, _POLYGONS)]:
        yield batch


def _placed(polygon: shapely.Geometry, transform: Affine) -> shapely.Geometry:
    a, b, c, d, e, f = tuple(transform)[:6]
    return shapely.transform(polygon, lambda x, y: (a * x + b * y + c, d * x + e * y + f), interleaved=False)


def _fields(
    batch: Sequence[Region], areas: Sequence[float], legend: Vocabulary, source: str, total: int
) -> dict[str, np.ndarray]:
    return {
        "id": np.arange(total + 1, total + 1 + len(batch)),
        "class": np.array([legend.names[region.label] for region in batch], object),
        "class_id": np.array([region.label for region in batch], np.int32),
        "area_m2": np.array(areas, float),
        "score": np.array([region.score for region in batch], float),
        "source": np.array([source] * len(batch), object),
    }


def _append(
    path: Path,
    polygons: Sequence[shapely.Geometry],
    fields: dict[str, np.ndarray],
    crs: str | None,
    append: bool,
) -> None:
    with warnings.catch_warnings():
        # The coordinate reference system of an image without georeference is None.
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(np.array(polygons, object)),
            field_data=[*fields.values()],
            fields=[*fields],
            geometry_type="Polygon",
            crs=crs,
            driver="GPKG",
            layer=_LAYER,
            append=append,
        )


def _convert(working: Path, path: Path, suffix: str, crs: str | None) -> None:
    """Bring a GeoPackage into another format, batch by batch."""
    if suffix == ".gpkg":
        working.replace(path)
    elif suffix == ".parquet":
        _write_parquet(working, path, crs)
    else:
        options: dict[str, Any] = {"driver": "FlatGeobuf"}
        if suffix == ".geojson":
            options = {"driver": "GeoJSON", "RFC7946": "NO" if crs is None else "YES"}
        with warnings.catch_warnings(), pyogrio.open_arrow(working, use_pyarrow=False) as (metadata, stream):
            warnings.filterwarnings("ignore", message="'crs' was not provided")
            name = metadata["geometry_name"] or "geom"
            pyogrio.write_arrow(
                stream, path, layer=_LAYER, geometry_name=name, geometry_type="Polygon", crs=crs, **options
            )


def _write_parquet(working: Path, path: Path, crs: str | None) -> None:
    """Write GeoParquet 1.1: polygons as WKB in the column ``geometry``, and their coordinate system as PROJJSON."""
    import pyarrow
    import pyarrow.parquet

    column = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None if crs is None else pyproj.CRS.from_wkt(crs).to_json_dict(),
    }
    geo = json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})
    with pyogrio.open_arrow(working, use_pyarrow=True) as (metadata, reader):
        place = metadata["geometry_name"] or "geom"
        fields = [
            pyarrow.field("geometry", pyarrow.binary()) if field.name == place else field.remove_metadata()
            for field in reader.schema
        ]
        schema = pyarrow.schema(fields, metadata={"geo": geo})
        with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema))


def _area(polygon: shapely.Geometry, areas: PixelAreas | None) -> float:
    """Area in square metres; NaN if the raster is not georeferenced."""
    if areas is None:
        return math.nan
    degrees = shapely.transform(polygon, areas.ellipsoid.to_degrees, interleaved=False)
    degrees = shapely.orient_polygons(degrees)  # otherwise holes may be added, not taken off
    return abs(areas.ellipsoid.geodesic.geometry_area_perimeter(degrees)[0])
