"""Polygons and lines that are kept in a file, of which those near a place or of an owner are read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from sgovss.rasters import ogr
from sgovss.rasters.vector_files import without_crs_warning

_CELL = 512.0  # pixels; least side of a cell in which shapes are grouped


class Stored:
    """Some stored shapes, with an index of their places.

    Args:
        numbers: (N,) rising.
        shapes: (N,).
        fields: each (N,).
    """

    def __init__(self, numbers: np.ndarray, shapes: np.ndarray, fields: dict[str, np.ndarray]) -> None:
        self.numbers, self.shapes, self.fields = numbers, shapes, fields

    def at(self, shape: shapely.Geometry) -> list[int]:
        """The shapes that overlap with a shape or touch it, in the order of their numbers."""
        return sorted(self._tree.query(shape, predicate="intersects").tolist())

    def union_at(self, shape: shapely.Geometry) -> shapely.Geometry:
        """The union of the polygons at a shape."""
        return shapely.union_all(self.shapes[self.at(shape)])

    def of(self, owner: int) -> np.ndarray:
        """The shapes whose field ``owner`` is a number: (M,)."""
        owners, order = self._by_owner
        first, last = np.searchsorted(owners, [owner, owner + 1])
        return self.shapes[order[first:last]]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    @cached_property
    def _by_owner(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.fields["owner"], kind="stable")
        return self.fields["owner"][order], order


class ShapeStore:
    """Polygons or lines in a GeoPackage, numbered from 0 in the order in which they are added.

    Args:
        path: the file, which is written anew.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.count = path, 0
        path.unlink(missing_ok=True)

    def append(self, shapes: Sequence[shapely.Geometry] | np.ndarray, **fields: np.ndarray) -> None:
        """Add shapes with the values of their fields, (N,) each."""
        if not len(shapes):
            return
        with without_crs_warning():
            ogr.raw.write(
                self._path,
                geometry=shapely.to_wkb(np.array(shapes, object)),
                field_data=[*fields.values()],
                fields=[*fields],
                geometry_type="Unknown",
                driver="GPKG",
                layer="stored",
                append=self._path.exists(),
            )
        self.count += len(shapes)

    def index_owners(self) -> None:
        """Let :meth:`of` find shapes without reading all; to be called when all are added."""
        if self.count:
            with closing(sqlite3.connect(self._path)) as database:
                database.execute("CREATE INDEX owners ON stored (owner)")
                database.commit()

    def batches(self, size: int) -> Iterator[Stored]:
        """All shapes, some at a time."""
        for first in range(0, self.count, size):
            yield self._read(where=f"fid > {first} AND fid <= {first + size}")

    def of(self, first: int, last: int) -> Stored:
        """The shapes whose field ``owner`` is from ``first`` to ``last``."""
        return self._read(where=f"owner >= {first} AND owner <= {last}")

    def near(self, shapes: np.ndarray) -> Stored:
        """The shapes within the common bounds of some others, and one pixel around."""
        left, bottom, right, top = shapely.total_bounds(shapes)
        return self._read(bbox=(left - 1, bottom - 1, right + 1, top + 1))

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _read(self, **options: Any) -> Stored:
        if not self.count:
            return Stored(np.empty(0, np.int64), np.empty(0, object), {"owner": np.empty(0, np.int64)})
        metadata, fids, geometries, values = ogr.raw.read(self._path, return_fids=True, **options)
        order = np.argsort(fids)
        fields = {name: row[order] for name, row in zip(metadata["fields"], values, strict=True)}
        return Stored(fids[order] - 1, shapely.from_wkb(geometries)[order], fields)


def side_by_side(shapes: np.ndarray) -> list[np.ndarray]:
    """Group shapes so that what is near a group is near its members: each group is of one place and of one size.

    Args:
        shapes: (N,).

    Returns:
        the places of the members of each group, rising. Their common bounds are at most four times as wide and high as
        the largest of them, or as 256 pixels.
    """
    if not len(shapes):
        return []
    left, bottom, right, top = shapely.bounds(shapes).T
    longest = np.maximum(np.maximum(right - left, top - bottom), _CELL)
    side = 2 ** np.ceil(np.log2(longest))
    cells = np.stack([side, left // side, bottom // side], axis=1)
    _, group = np.unique(cells, axis=0, return_inverse=True)
    order = np.argsort(group.reshape(-1), kind="stable")
    return np.split(order, np.cumsum(np.bincount(group.reshape(-1)))[:-1])
