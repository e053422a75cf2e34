"""Right angles for the regions of some classes; their neighbours are fitted to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from sgovss.rasters import ogr
from sgovss.rasters.polygons import Region
from sgovss.rasters.right_angles import squared
from sgovss.rasters.vector_files import without_crs_warning

_BATCH = 2_000  # regions that are in memory together with their neighbours
_REACH = 0.05  # pixels beyond a piece, in which its neighbours are looked for


class Squaring:
    """Gives the regions of some classes outlines with right angles.

    The rule: of outlines that overlap, the earlier region keeps its outline, and the later one is cut by it. All other
    regions are cut by the outlines. What an outline leaves of its region goes to the neighbour with the longest border
    to it that has no right angles. So no regions overlap, and there are no gaps, except where there is no such
    neighbour: beside no data, and between two outlines. Regions that are cut into several parts become several regions,
    and those that an outline covers vanish.

    The regions are kept in files; memory holds some of them, and their neighbours.

    Args:
        labels: ids of the classes.
        size: height and width of the raster in pixels; outlines end there.
        ratio: height of a pixel on the ground, divided by its width.
        folder: for files that do not remain.

    Attributes:
        fitted: number of regions that have got right angles.
        kept: number of those whose form is too far from any outline with right angles, which are left as they are.
    """

    def __init__(self, labels: Sequence[int], size: tuple[int, int], ratio: float, folder: Path) -> None:
        self._labels, self._scale = [*labels], np.array([1.0, ratio])
        self._whole = shapely.box(0, 0, size[1], size[0])
        self._regions, self._outlines, self._pieces = (
            _Store(folder / f"squaring_{name}.gpkg") for name in ("regions", "outlines", "pieces")
        )
        self.fitted = self.kept = 0

    def __call__(self, found: Iterator[Region]) -> Iterator[Region]:
        """Yield the regions, in pixels, with their new outlines; a number of them is less or more than before."""
        while batch := [*islice(found, _BATCH)]:
            self._keep(batch)
        for regions in self._regions.batches():
            self._find_pieces(regions)
        for regions in self._regions.batches():
            yield from self._changed(regions)
        for store in (self._regions, self._outlines, self._pieces):
            store.remove()

    def _keep(self, batch: Sequence[Region]) -> None:
        """Store regions and the outlines of those that get right angles."""
        first = self._regions.count
        self._regions.append([region.polygon for region in batch], **{
            name: np.array([getattr(region, name) for region in batch]) for name in ("label", "percents", "scored")
        })  # fmt: skip
        chosen = [i for i, region in enumerate(batch) if region.label in self._labels]
        outlines = [self._outline(batch[i].polygon) for i in chosen]
        self._outlines.append(outlines, owner=np.array([first + i for i in chosen], np.int64))

    def _outline(self, polygon: shapely.Polygon) -> shapely.Geometry:
        fit = squared(shapely.transform(polygon, lambda xy: xy * self._scale))
        self.fitted, self.kept = self.fitted + (fit is not None), self.kept + (fit is None)
        if fit is None:
            return polygon
        return shapely.transform(fit, lambda xy: xy / self._scale).intersection(self._whole)

    def _find_pieces(self, regions: _Batch) -> None:
        """Store what outlines leave of their regions, each piece with the region that gets it."""
        chosen = regions.shapes[np.isin(regions.fields["label"], self._labels)]
        if not len(chosen):
            return
        near, beside = self._outlines.near(chosen), self._regions.near(chosen)
        left = [polygon.difference(near.union_near(polygon)) for polygon in chosen]
        pieces = shapely.get_parts(np.array(left, object))
        takes = ~np.isin(beside.fields["label"], self._labels)
        owners = _longest_borders(pieces, beside.shapes[takes])
        numbers = beside.numbers[takes][owners[owners >= 0]]
        self._pieces.append(pieces[owners >= 0], owner=numbers.astype(np.int64))

    def _changed(self, regions: _Batch) -> Iterator[Region]:
        """Yield regions that are cut, and have got the pieces that are theirs."""
        near = self._outlines.near(regions.shapes)
        near = self._outlines.near(np.concatenate([regions.shapes, near.shapes]))  # outlines beyond their regions
        pieces = self._pieces.of(regions.numbers[0], regions.numbers[-1])
        for i, number in enumerate(regions.numbers):
            own = near.fields["owner"] == number
            if own.any():
                shape = near.shapes[own][0]
                cut = [j for j in near.at(shape) if near.fields["owner"][j] < number]
                added = []
            else:
                shape, cut = regions.shapes[i], near.at(regions.shapes[i])
                added = [*pieces.shapes[pieces.fields["owner"] == number]]
            shape = shape.difference(shapely.union_all(near.shapes[cut])) if cut else shape
            shape = shapely.union_all([shape, *added]) if added else shape
            label, percents, scored = (regions.fields[name][i] for name in ("label", "percents", "scored"))
            for part in shapely.get_parts(shape):
                if part.geom_type == "Polygon" and part.area > 0:
                    yield Region(part, int(label), float(percents), int(scored))


def _longest_borders(pieces: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """For each piece, the place of the shape with the longest border to it: (N,) int64, -1 if there is none."""
    rings, of_ring = shapely.get_rings(shapes, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    along = np.flatnonzero(ring[1:] == ring[:-1])
    sides = shapely.linestrings(np.stack([points[along], points[along + 1]], axis=1))
    # Sides, not shapes: a shape may have many more sides than are near.
    grown = shapely.buffer(pieces, _REACH)
    at, side = shapely.STRtree(sides).query(grown, predicate="intersects")
    lengths = shapely.length(shapely.intersection(sides[side], grown[at]))
    pairs, place = np.unique(np.stack([at, of_ring[ring[along[side]]]]), axis=1, return_inverse=True)
    totals = np.bincount(place.reshape(-1), lengths, minlength=pairs.shape[1])
    owners = np.full(len(pieces), -1)
    rising = np.argsort(totals, kind="stable")
    owners[pairs[0, rising]] = pairs[1, rising]  # the longest comes last
    return owners


class _Batch:
    """Some stored polygons, with an index of their places.

    Args:
        numbers: (N,) rising.
        shapes: (N,).
        fields: each (N,).
    """

    def __init__(self, numbers: np.ndarray, shapes: np.ndarray, fields: dict[str, np.ndarray]) -> None:
        self.numbers, self.shapes, self.fields = numbers, shapes, fields
        self._tree = shapely.STRtree(shapes)

    def at(self, shape: shapely.Geometry) -> list[int]:
        """The polygons that overlap with a shape or touch it, in the order of their numbers."""
        return sorted(self._tree.query(shape, predicate="intersects").tolist())

    def union_near(self, shape: shapely.Geometry) -> shapely.Geometry:
        """The union of the polygons at a shape."""
        return shapely.union_all(self.shapes[self.at(shape)])


class _Store:
    """Polygons in a GeoPackage, numbered from 0 in the order in which they are added.

    Args:
        path: the file, which is written anew.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.count = path, 0
        path.unlink(missing_ok=True)

    def append(self, shapes: Sequence[shapely.Geometry], **fields: np.ndarray) -> None:
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

    def batches(self) -> Iterator[_Batch]:
        """All polygons, some at a time."""
        for first in range(0, self.count, _BATCH):
            yield self._read(where=f"fid > {first} AND fid <= {first + _BATCH}")

    def of(self, first: int, last: int) -> _Batch:
        """The polygons whose field ``owner`` is from ``first`` to ``last``."""
        return self._read(where=f"owner >= {first} AND owner <= {last}")

    def near(self, shapes: np.ndarray) -> _Batch:
        """The polygons near any of some shapes."""
        left, bottom, right, top = shapely.total_bounds(shapes)
        return self._read(bbox=(left - 1, bottom - 1, right + 1, top + 1))

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)

    def _read(self, **options: Any) -> _Batch:
        if not self._path.exists():  # nothing was added
            return _Batch(np.empty(0, np.int64), np.empty(0, object), {"owner": np.empty(0, np.int64)})
        metadata, fids, geometries, values = ogr.raw.read(self._path, return_fids=True, **options)
        order = np.argsort(fids)
        fields = {name: row[order] for name, row in zip(metadata["fields"], values, strict=True)}
        return _Batch(fids[order] - 1, shapely.from_wkb(geometries)[order], fields)
