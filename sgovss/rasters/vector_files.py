"""Files of polygons, written batch by batch: GeoPackage, GeoParquet, FlatGeobuf or GeoJSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely

from sgovss.files import atomic_path
from sgovss.rasters import ogr

_LAYER = "classes"


class PolygonFile:
    """A file of polygons. They are written into a GeoPackage first, which then becomes the file.

    Args:
        path: the file; its suffix gives the format. GeoJSON is in degrees, as its standard demands.
        working: the GeoPackage, which does not remain.
        crs: coordinate reference system as WKT; None for none.
        kind: "Polygon", or "MultiPolygon" if polygons may have several parts.
    """

    def __init__(self, path: Path, working: Path, crs: str | None, kind: str = "Polygon") -> None:
        self._path, self._working, self._crs, self._kind = path, working, crs, kind
        self.count = 0
        self._begun = False
        working.unlink(missing_ok=True)

    def add(self, polygons: Sequence[shapely.Geometry], fields: Mapping[str, np.ndarray]) -> None:
        """Add polygons, which may be none; all batches have the same fields."""
        with without_crs_warning():
            ogr.raw.write(
                self._working,
                geometry=shapely.to_wkb(np.array(polygons, object)),
                field_data=[*fields.values()],
                fields=[*fields],
                geometry_type=self._kind,
                promote_to_multi=self._kind == "MultiPolygon",
                crs=self._crs,
                driver="GPKG",
                layer=_LAYER,
                append=self._begun,
            )
        self._begun = True
        self.count += len(polygons)

    def finish(self) -> None:
        """Bring the polygons into the format of the file, batch by batch."""
        with atomic_path(self._path) as partial:
            partial.unlink()
            self._convert(partial)
        self._working.unlink(missing_ok=True)

    def _convert(self, path: Path) -> None:
        if self._path.suffix == ".gpkg":
            self._working.replace(path)
        elif self._path.suffix == ".parquet":
            self._write_parquet(path)
        else:
            options: dict[str, Any] = {"driver": "FlatGeobuf"}
            if self._path.suffix == ".geojson":
                options = {"driver": "GeoJSON", "RFC7946": "NO" if self._crs is None else "YES"}
            with without_crs_warning(), ogr.open_arrow(self._working, use_pyarrow=False) as (metadata, stream):
                name = metadata["geometry_name"] or "geom"
                ogr.write_arrow(
                    stream,
                    path,
                    layer=_LAYER,
                    geometry_name=name,
                    geometry_type=self._kind,
                    crs=self._crs,
                    **options,
                )

    def _write_parquet(self, path: Path) -> None:
        """Write GeoParquet 1.1: polygons as WKB in the column ``geometry``, and their CRS as PROJJSON."""
        import pyarrow
        import pyarrow.parquet

        column = {
            "encoding": "WKB",
            "geometry_types": [self._kind],
            "crs": None if self._crs is None else pyproj.CRS.from_wkt(self._crs).to_json_dict(),
        }
        geo = json.dumps({"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}})
        with ogr.open_arrow(self._working, use_pyarrow=True) as (metadata, reader):
            place = metadata["geometry_name"] or "geom"
            fields = [
                pyarrow.field("geometry", pyarrow.binary()) if field.name == place else field.remove_metadata()
                for field in reader.schema
            ]
            schema = pyarrow.schema(fields, metadata={"geo": geo})
            with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
                for batch in reader:
                    writer.write_batch(pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema))


@contextmanager
def without_crs_warning() -> Iterator[None]:
    """Write without a coordinate reference system, which is that of an image without georeference, in silence."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        yield
