"""Shapes in a file: their numbers and owners, those near a place, and groups of neighbours."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import shapely

from sgovss.rasters.stored_polygons import ShapeStore, side_by_side


def squares(*places: tuple[float, float], side: float = 10) -> np.ndarray:
    """Squares by their lower left corners."""
    return shapely.box(*np.array(places, float).T, *(np.array(places, float) + side).T)


@pytest.mark.parametrize(
    ("places", "side", "expected"),
    [
        # Cells of 512 pixels, by the lower left corners.
        ([(0, 0), (501, 501), (512, 0), (0, 512), (1023, 1023), (600, 10)], 10, [[0, 1], [2, 5], [3], [4]]),
        ([(0, 0), (600, 0)], 10, [[0], [1]]),
        ([(-5, 0), (0, -5), (5, 5), (-500, 3)], 10, [[0, 3], [1], [2]]),
        # Larger shapes have larger cells, which are powers of two.
        ([(0, 0), (511, 0), (512, 0)], 512, [[0, 1], [2]]),
        ([(0, 0), (1023, 600), (1024, 0), (600, 1024)], 513, [[0, 1], [2], [3]]),
        ([(0, 0), (1030, 0), (2048, 0)], 1025, [[0, 1], [2]]),
    ],
)
def test_shapes_of_one_cell_are_a_group(places, side, expected):
    groups = side_by_side(squares(*places, side=side))
    assert sorted(group.tolist() for group in groups) == expected


@pytest.mark.parametrize(("width", "height"), [(2000, 5), (5, 2000)])
def test_the_longer_side_of_a_shape_decides(width, height):
    small, long = shapely.box(10, 10, 20, 20), shapely.box(0, 0, width, height)
    other = shapely.box(1900, 1900, 1900 + width, 1900 + height)
    groups = side_by_side(np.array([long, small, other]))
    assert sorted(group.tolist() for group in groups) == [[0, 2], [1]]


def test_no_shapes_have_no_group():
    assert side_by_side(np.empty(0, object)) == []


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ShapeStore:
    """Five squares at x = 0, 100, ... 400 in two parts; their owners are 7, 3, 7, 5, 3."""
    found = ShapeStore(tmp_path_factory.mktemp("store") / "shapes.gpkg")
    found.append(squares((0, 0), (100, 0)), owner=np.array([7, 3]))
    found.append([], owner=np.array([], np.int64))
    found.append(squares((200, 0), (300, 0), (400, 0)), owner=np.array([7, 5, 3]))
    return found


def lefts(shapes: np.ndarray) -> list[float]:
    return shapely.bounds(shapes)[:, 0].tolist() if len(shapes) else []


@pytest.mark.parametrize("indexed", [False, True])
def test_shapes_are_found_by_their_owners(store, indexed):
    if indexed:
        store.index_owners()
        with closing(sqlite3.connect(store._path)) as database:
            steps = database.execute("EXPLAIN QUERY PLAN SELECT * FROM stored WHERE owner >= 3").fetchall()
        assert "USING INDEX owners" in str(steps)  # not all shapes are read
    found = store.of(3, 5)
    assert found.numbers.tolist() == [1, 3, 4] and lefts(found.shapes) == [100, 300, 400]
    assert {owner: lefts(found.of(owner)) for owner in (2, 3, 4, 5, 7)} == {
        2: [],
        3: [100, 400],
        4: [],
        5: [300],
        7: [],
    }
    assert store.of(4, 4).numbers.tolist() == [] and store.of(7, 9).numbers.tolist() == [0, 2]


def test_shapes_come_in_batches_with_their_fields(store):
    assert store.count == 5
    for size, expected in ((2, [[0, 1], [2, 3], [4]]), (5, [[0, 1, 2, 3, 4]]), (9, [[0, 1, 2, 3, 4]])):
        batches = [*store.batches(size)]
        assert [batch.numbers.tolist() for batch in batches] == expected
        assert np.concatenate([batch.fields["owner"] for batch in batches]).tolist() == [7, 3, 7, 5, 3]
        assert np.concatenate([lefts(batch.shapes) for batch in batches]).tolist() == [0, 100, 200, 300, 400]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((105, 5, 106, 6), [1]),
        ((105, 5, 305, 6), [1, 2, 3]),
        ((150, 0, 160, 10), []),
        ((110.9, 0, 120, 10), [1]),  # one pixel around
        ((111.1, 0, 120, 10), []),
        ((80, 0, 99.1, 10), [1]),
        ((80, 0, 98.9, 10), []),
        ((105, 10.9, 106, 20), [1]),
        ((105, 11.1, 106, 20), []),
        ((105, -20, 106, -0.9), [1]),
        ((105, -20, 106, -1.1), []),
    ],
)
def test_shapes_near_others_are_read(store, box, expected):
    assert store.near(np.array([shapely.box(*box)])).numbers.tolist() == expected


def test_shapes_at_a_shape_overlap_with_it_or_touch_it(store):
    found = store.near(squares((0, 0), (400, 0)))
    assert found.at(shapely.box(110, 0, 200, 10)) == [1, 2]
    assert found.union_at(shapely.box(105, 0, 205, 10)).area == 200
    assert found.at(shapely.box(111, 0, 199, 10)) == [] and found.union_at(shapely.box(111, 0, 199, 10)).is_empty


def test_an_empty_store_has_nothing_and_an_old_file_is_left_out(tmp_path):
    (tmp_path / "shapes.gpkg").write_bytes(b"of an earlier run")
    empty = ShapeStore(tmp_path / "shapes.gpkg")
    empty.index_owners()
    assert not (tmp_path / "shapes.gpkg").exists() and empty.count == 0
    for found in (empty.of(0, 9), empty.near(squares((0, 0)))):
        assert len(found.numbers) == len(found.shapes) == 0 and len(found.fields["owner"]) == len(found.of(3)) == 0
    assert [*empty.batches(2)] == []
    empty.remove()
    empty.append(squares((0, 0)), owner=np.array([1]))
    assert empty.of(1, 1).numbers.tolist() == [0]
    empty.remove()
    assert not (tmp_path / "shapes.gpkg").exists()
