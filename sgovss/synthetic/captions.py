"""Captions of an image, derived from its mask, in the style of the UC Merced captions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from sgovss.synthetic.classes import COUNTABLE, Id

SMALLEST_FRACTION = 0.003
"""Surfaces that cover a smaller fraction of the image are not mentioned."""

_ONE_MANY = {
    Id.BUILDING: (("building", "buildings"), ("house", "houses")),
    Id.TREE: (("tree", "trees"),),
    Id.CAR: (("car", "cars"), ("vehicle", "vehicles")),
    Id.AIRPLANE: (("airplane", "airplanes"), ("aircraft", "aircraft"), ("aeroplane", "aeroplanes")),
    Id.SHIP: (("boat", "boats"), ("ship", "ships")),
    Id.TANK: (("storage tank", "storage tanks"), ("oil tank", "oil tanks")),
    Id.COURT: (("sports court", "sports courts"), ("tennis court", "tennis courts")),
    Id.POOL: (("swimming pool", "swimming pools"), ("pool", "pools")),
    Id.GREENHOUSE: (("greenhouse", "greenhouses"), ("glasshouse", "glasshouses")),
}
_SURFACES = {
    Id.ROAD: ("a road", "the road", "a street"),
    Id.GRASS: ("grass", "a lawn", "green grass", "a meadow"),
    Id.FARMLAND: ("farmland", "cropland", "crop fields"),
    Id.SOIL: ("bare soil", "bare ground", "sand"),
    Id.WATER: ("water",),
    Id.PAVEMENT: ("pavement", "concrete ground", "paved ground"),
    Id.RAILWAY: ("a railway", "train tracks", "a railroad"),
    Id.CLUTTER: ("clutter", "rubble", "debris"),
}
_PLACES = {
    "residential": ("a residential area", "a residential neighborhood", "a suburb"),
    "commercial": ("a commercial area", "a city block", "a downtown area"),
    "industrial": ("an industrial area", "an industrial site"),
    "harbour": ("a harbor", "a port"),
    "airport": ("an airport", "a part of an airport"),
    "farmland": ("the countryside", "a rural area"),
    "desert": ("the desert", "desert land", "a sandy landscape"),
    "park": ("a park", "a leisure park"),
    "river": ("a riverside landscape", "a natural landscape"),
    "desert_town": ("a desert town", "a residential area in the desert"),
    "settlement": ("a dense residential area", "a crowded settlement", "a town"),
    "railway": ("a railway line", "a railway station"),
    "greenhouses": ("a farming area", "an agricultural area"),
    "lake": ("a shore", "a natural landscape"),
}
_WATERS = {
    "river": ("a river", "the river"),
    "harbour": ("the sea",),
    "desert": ("the sea",),
    "park": ("a lake",),
    "lake": ("a lake",),
}
_NUMBERS = {1: ("a", "one"), 2: ("two",), 3: ("three",), 4: ("four", "several")}


def write_captions(
    rng: np.random.Generator, labels: np.ndarray, instances: np.ndarray, kind: str, smallest: int
) -> list[str]:
    """Write five sentences about an image.

    Args:
        labels: (H, W) class ids.
        instances: (H, W) object numbers, 0 for surfaces.
        kind: the kind of place.
        smallest: objects with fewer pixels are not counted.

    Returns:
        The five sentences.
    """
    fractions = np.bincount(labels.ravel(), minlength=len(Id)) / labels.size
    counts = {Id(c): _count(instances[labels == c], smallest) for c in COUNTABLE}
    things = [c for c in COUNTABLE if c != Id.TREE and counts[c]]
    greens = [Id.TREE] if counts[Id.TREE] and fractions[Id.TREE] > SMALLEST_FRACTION else []
    surfaces = [Id(c) for c in np.argsort(-fractions) if c in _SURFACES and fractions[c] > SMALLEST_FRACTION]
    rare = sorted(things, key=lambda c: (c in (Id.BUILDING, Id.CAR), rng.random()))
    build = _Sentences(rng, labels, counts, kind)
    subjects = [*rare, *greens] or surfaces
    ordered = [*subjects[:1], *[subjects[i] for i in rng.permutation(len(subjects))]]
    sentences = [build.place(ordered + surfaces)]
    sentences += [build.relation(subject, surfaces) for subject in ordered[:2]]
    sentences.append(build.listing(ordered[1:] + surfaces))
    sentences.append(build.coverage(int(np.argmax(fractions)), float(fractions.max())))
    return [sentence + " ." for sentence in sentences]


def _count(numbers: np.ndarray, smallest: int) -> int:
    _, sizes = np.unique(numbers, return_counts=True)
    return int((sizes >= smallest).sum())


class _Sentences:
    """Builds sentences about one image with randomly chosen words."""

    def __init__(self, rng: np.random.Generator, labels: np.ndarray, counts: dict[Id, int], kind: str) -> None:
        self._rng = rng
        self._labels = labels
        self._counts = counts
        self._kind = kind

    def _one_of(self, words: Sequence[str]) -> str:
        return words[int(self._rng.integers(len(words)))]

    def _surface(self, surface: Id) -> str:
        words = _SURFACES[surface]
        return self._one_of((*words, *_WATERS.get(self._kind, ())) if surface == Id.WATER else words)

    def _noun(self, subject: Id) -> str:
        """The noun phrase of a class: objects with their number, or a surface."""
        if subject not in _ONE_MANY:
            return self._surface(subject)
        names = _ONE_MANY[subject]
        one, many = names[0] if self._kind not in ("residential", "harbour") else names[self._rng.integers(len(names))]
        if subject in (Id.AIRPLANE, Id.TANK, Id.CAR, Id.POOL, Id.SHIP, Id.COURT):
            one, many = names[self._rng.integers(len(names))]
        count = self._counts[subject]
        if count == 1:
            article = "an" if one[0] in "aeiou" else "a"
            return f"{self._one_of((article, 'one'))} {one}"
        if count in _NUMBERS:
            return f"{self._one_of(_NUMBERS[count])} {many}"
        return f"{self._one_of(('several', 'some') if count < 10 else ('many', 'lots of'))} {many}"

    def _is(self, subject: Id) -> str:
        return "are" if subject in _ONE_MANY and self._counts[subject] > 1 else "is"

    def place(self, subjects: Sequence[Id]) -> str:
        first = list(dict.fromkeys(subjects))[: int(self._rng.integers(1, 4))]
        nouns = _join([self._noun(subject) for subject in first])
        start = self._one_of(("This is", "It is", "Here is", "An aerial image of"))
        return f"{start} {self._one_of(_PLACES[self._kind])} with {nouns}"

    def relation(self, subject: Id, surfaces: Sequence[Id]) -> str:
        neighbour, fraction = self._neighbour(subject)
        noun = self._noun(subject)
        if neighbour is None:
            return f"There {self._is(subject)} {noun} in the image"
        other = self._surface(neighbour)
        if fraction > 0.6:
            link = self._one_of(("surrounded by", "on" if neighbour != Id.WATER or subject == Id.SHIP else "beside"))
        else:
            link = self._one_of(("next to", "beside", "close to"))
        if self._rng.random() < 0.5:
            return f"There {self._is(subject)} {noun} {link} {other}"
        return f"{_capital(noun)} {self._is(subject)} {link} {other}"

    def _neighbour(self, subject: Id) -> tuple[Id | None, float]:
        """The surface with the longest border to a class, and the fraction of the border that it has."""
        mask = (self._labels == subject).astype(np.uint8)
        ring = cv2.dilate(mask, np.ones((7, 7), np.uint8)).astype(bool) & (mask == 0)
        around = np.bincount(self._labels[ring], minlength=len(Id))
        best = max((c for c in _SURFACES if c != subject), key=lambda c: around[c])
        if not around[best] or (self._labels == best).mean() < SMALLEST_FRACTION:
            return None, 0.0
        return best, around[best] / around.sum()

    def listing(self, subjects: Sequence[Id]) -> str:
        chosen = list(dict.fromkeys(subjects))[: int(self._rng.integers(2, 4))]
        nouns = _join([self._noun(subject) for subject in chosen])
        return f"There {self._is(chosen[0])} {nouns}" if self._rng.random() < 0.6 else _capital(nouns)

    def coverage(self, label: int, fraction: float) -> str:
        name = {Id.BUILDING: "buildings", Id.TREE: "trees"}.get(Id(label)) or (
            self._surface(Id(label)) if label in _SURFACES else _ONE_MANY[Id(label)][0][1]
        )
        amount = "Most" if fraction > 0.5 else "A large part" if fraction > 0.3 else "A part"
        return f"{amount} of the {self._one_of(('image', 'scene', 'area'))} is covered by {name}"


def _join(nouns: Sequence[str]) -> str:
    return nouns[0] if len(nouns) == 1 else f"{', '.join(nouns[:-1])} and {nouns[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
