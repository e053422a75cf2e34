"""Ids, names, synonyms and colours of the classes of synthetic images."""

from __future__ import annotations

from enum import IntEnum

from sgovss.vocabulary import ClassEntry, Vocabulary

SYNTHETIC_VOCABULARY = Vocabulary(
    [
        ClassEntry("building", ("house", "roof"), (200, 60, 50)),
        ClassEntry("road", ("street", "runway"), (95, 95, 110)),
        ClassEntry("tree", ("forest", "woods"), (20, 95, 40)),
        ClassEntry("grass", ("lawn", "meadow"), (120, 200, 80)),
        ClassEntry("farmland", ("cropland", "crop field"), (225, 200, 70)),
        ClassEntry("bare soil", ("bare ground", "sand"), (165, 115, 70)),
        ClassEntry("water", ("river", "lake", "sea"), (40, 100, 200)),
        ClassEntry("car", ("vehicle", "truck"), (255, 120, 220)),
        ClassEntry("airplane", ("aeroplane", "aircraft"), (255, 255, 255)),
        ClassEntry("ship", ("boat",), (255, 150, 30)),
        ClassEntry("storage tank", ("oil tank",), (150, 80, 210)),
        ClassEntry("tennis court", ("basketball court", "sports court"), (230, 90, 130)),
        ClassEntry("swimming pool", ("pool",), (60, 220, 230)),
        ClassEntry("pavement", ("parking lot", "concrete ground"), (190, 185, 175)),
    ],
    source="synthetic images",
)
"""Names, synonyms and legend colours. The position is the class id."""

WIDE_VOCABULARY = Vocabulary(
    [
        *SYNTHETIC_VOCABULARY,
        ClassEntry("railway", ("railroad", "train tracks"), (110, 70, 60)),
        ClassEntry("greenhouse", ("glasshouse",), (190, 240, 235)),
        ClassEntry("clutter", ("rubble", "debris"), (140, 20, 90)),
    ],
    source="synthetic images of style d",
)
"""The classes of style d: the same, and others after them, so that the ids of all styles agree."""

SYNTHETIC_CLASSES: tuple[str, ...] = tuple(SYNTHETIC_VOCABULARY.names)
"""Class names in the order of their ids, from 0."""


class Id(IntEnum):
    """Class ids by name. Only style d has those after the classes of ``SYNTHETIC_VOCABULARY``."""

    BUILDING = 0
    ROAD = 1
    TREE = 2
    GRASS = 3
    FARMLAND = 4
    SOIL = 5
    WATER = 6
    CAR = 7
    AIRPLANE = 8
    SHIP = 9
    TANK = 10
    COURT = 11
    POOL = 12
    PAVEMENT = 13
    RAILWAY = 14
    GREENHOUSE = 15
    CLUTTER = 16


COUNTABLE = (Id.BUILDING, Id.TREE, Id.CAR, Id.AIRPLANE, Id.SHIP, Id.TANK, Id.COURT, Id.POOL, Id.GREENHOUSE)
"""Classes of objects, which captions count. The others are surfaces."""


def vocabulary_of(style: str) -> Vocabulary:
    """The classes of the images of a style."""
    return WIDE_VOCABULARY if style == "d" else SYNTHETIC_VOCABULARY
