"""Styles of synthetic images: colours, sun, haze and layout."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from sgovss.errors import InputError

Range = tuple[float, float]


def rgb(*codes: str) -> np.ndarray:
    """Convert hexadecimal colours to an (N, 3) float32 array in 0..1."""
    return np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in codes], np.float32) / 255


@dataclass(frozen=True, eq=False)
class Style:
    """Settings common to all images of one style. Lengths are in metres, angles in degrees, colours in 0..1.

    ``kinds`` lists the kinds of place of one round of seeds. A kind that is listed twice is twice as frequent.
    """

    name: str
    kinds: tuple[str, ...]
    grass: np.ndarray
    dry: np.ndarray
    soil: np.ndarray
    crops: np.ndarray
    leaves: np.ndarray
    autumn: np.ndarray
    water: np.ndarray
    shallow: np.ndarray
    asphalt: np.ndarray
    concrete: np.ndarray
    pitched_roof: np.ndarray
    flat_roof: np.ndarray
    court: np.ndarray
    tank: np.ndarray
    sun_elevation: Range
    haze: Range
    saturation: Range
    warmth: Range
    noise: Range
    blur: Range
    lot_width: Range
    lot_depth: Range
    crown_radius: Range
    tree_density: float
    flat_fraction: float
    dryness: Range
    autumn_fraction: float
    texture: float
    gsd_factor: float = 1.0
    cars: np.ndarray = field(
        default_factory=lambda: rgb(
            "f2f2f0", "e8e8ea", "ececea", "d0d2d6", "c2c4c8", "9a9ea4", "7c8086", "55585e", "3a3c42", "24262a",
            "16181c", "7e2a28", "97332e", "2a3f66", "47648c", "33463c", "b8a88a", "c29a3c",
        )
    )  # fmt: skip


_TEMPERATE = Style(
    name="a",
    kinds=(
        "residential", "residential", "residential", "commercial", "commercial", "industrial", "industrial",
        "harbour", "harbour", "airport", "airport", "airport", "farmland", "farmland", "park", "park", "river",
    ),
    grass=rgb("6f8a4e", "5f7d45", "7c9157", "54733f", "8a9a60"),
    dry=rgb("a59a6c", "b3a578", "978e62"),
    soil=rgb("a08a6a", "8d7558", "b39c7c", "7f6a52"),
    crops=rgb("5d7d3c", "7c9448", "a99a54", "c2b06a", "8c7a52", "6b7a44", "4d6b38", "b7a35c"),
    leaves=rgb("34512c", "3f5d33", "2c4628", "4b6638", "3a5a3a"),
    autumn=rgb("8a6a2c", "9b5a2a", "7d7434", "a07c38"),
    water=rgb("2b4350", "33505a", "3a4f48", "24394a"),
    shallow=rgb("5c7470", "6a7860", "56707a"),
    asphalt=rgb("62646a", "6e7074", "56585c", "7a7a7a"),
    concrete=rgb("b2afa8", "a5a39d", "bdb8ac", "989894"),
    pitched_roof=rgb("7c4a3a", "8f5a46", "5c5a5a", "4a4a4e", "6d625a", "87796c", "733f34", "9a8f84"),
    flat_roof=rgb("b9b9b7", "d8d8d4", "8e8e8c", "a59f94", "6f7276", "c7c2b6"),
    court=rgb("4f7a54", "2f6a9a", "9a4a3a", "3f6f5f", "b06a48"),
    tank=rgb("e6e6e2", "d2d4d2", "c4beb0", "9aa2a4", "b8a284"),
    sun_elevation=(32, 62),
    haze=(0.0, 0.16),
    saturation=(0.65, 1.05),
    warmth=(-0.05, 0.05),
    noise=(0.004, 0.018),
    blur=(0.3, 0.75),
    lot_width=(15, 24),
    lot_depth=(24, 34),
    crown_radius=(1.8, 4.6),
    tree_density=1.0,
    flat_fraction=0.15,
    dryness=(0.0, 0.55),
    autumn_fraction=0.2,
    texture=1.0,
)  # fmt: skip

_ARID = Style(
    name="b",
    kinds=(
        "residential", "residential", "residential", "commercial", "commercial", "commercial", "industrial",
        "industrial",
        "harbour", "harbour", "airport", "airport", "airport", "farmland", "farmland", "park", "park", "river",
    ),
    grass=rgb("7d8f3f", "5a8a3c", "8c9448", "6a9a4a", "4f7a30"),
    dry=rgb("bda878", "c9b488", "b19a6a"),
    soil=rgb("c9a87c", "d6bb94", "b98d62", "b07850", "dcc8a8"),
    crops=rgb("4c8a30", "6fa03a", "8aa84a", "d0b25e", "b5854f", "94623e", "3d7038", "c8bc74"),
    leaves=rgb("3f5a22", "56692e", "2f4e1e", "66743a", "486030"),
    autumn=rgb("8a8438", "9a8a44", "74702f"),
    water=rgb("1c5a68", "23707c", "184a66", "2a6a5a"),
    shallow=rgb("58a09a", "7ab0a0", "8aa890"),
    asphalt=rgb("807a74", "8c867e", "6e6a68", "5c5a5c"),
    concrete=rgb("cfc5b4", "c2b7a4", "dad2c4", "b5aca0"),
    pitched_roof=rgb("b5684a", "c27a56", "a05a40", "cf9470", "b89a80", "a8846a"),
    flat_roof=rgb("ece8de", "ddd4c4", "f4f2ec", "c9bba4", "b8ada0", "e0c8a8"),
    court=rgb("3a78b0", "2f7f6a", "b8553a", "5a6fa8", "c47a4a"),
    tank=rgb("f0eee6", "e6ddcc", "d4d0c6", "cfb896", "a8b4bc"),
    sun_elevation=(48, 76),
    haze=(0.04, 0.26),
    saturation=(0.7, 1.15),
    warmth=(0.0, 0.1),
    noise=(0.008, 0.028),
    blur=(0.4, 0.95),
    lot_width=(12, 20),
    lot_depth=(18, 27),
    crown_radius=(1.4, 3.4),
    tree_density=0.7,
    flat_fraction=0.55,
    dryness=(0.25, 0.9),
    autumn_fraction=0.05,
    texture=1.35,
    gsd_factor=0.85,
)  # fmt: skip

_DESERT = Style(
    name="c",
    kinds=(
        "desert", "desert", "desert", "desert", "desert", "residential", "commercial", "industrial", "harbour",
        "harbour", "airport", "farmland", "park", "river",
    ),
    grass=rgb("6c7c3e", "7f8b52", "557034", "8c9060"),
    dry=rgb("a89c6e", "b0a478", "9a9264"),
    soil=rgb("dac6a4", "cdb590", "e4d4b8", "bfa27e", "c9a98c", "d8bfa6", "a9907a", "b8a796"),
    crops=rgb("5a7a3a", "7d9250", "b9a46a", "a68a5c", "cbb684", "4d6a36"),
    leaves=rgb("4a5a34", "3c4c2c", "5e6a40", "6e7450"),
    autumn=rgb("7c7a48", "8c8654"),
    water=rgb("1e4c66", "2a6a84", "37808e", "235a5a", "16384e"),
    shallow=rgb("6aa8a4", "88b4a8", "5a9a9c"),
    asphalt=rgb("74706e", "86807a", "94908a", "62605e"),
    concrete=rgb("d2cabc", "c6bdae", "dcd6ca", "b4aca2"),
    pitched_roof=rgb("b87858", "c89478", "a87a62", "d0b49c", "94807a"),
    flat_roof=rgb("e4ddd0", "d2c6b4", "efece4", "c0b4a4", "a8a098", "d8ccb8"),
    court=rgb("3f7a9a", "4a8a6a", "a85a42", "6a86a0"),
    tank=rgb("ece8de", "dcd4c6", "c6c0b4", "a4a8aa"),
    sun_elevation=(40, 70),
    haze=(0.02, 0.3),
    saturation=(0.5, 1.05),
    warmth=(-0.02, 0.1),
    noise=(0.004, 0.024),
    blur=(0.4, 1.1),
    lot_width=(14, 26),
    lot_depth=(18, 32),
    crown_radius=(1.2, 3.0),
    tree_density=0.45,
    flat_fraction=0.75,
    dryness=(0.3, 0.9),
    autumn_fraction=0.02,
    texture=0.8,
    gsd_factor=1.15,
)  # fmt: skip


def _all(field_name: str, *codes: str) -> np.ndarray:
    """The colours of the three other styles, and more."""
    palettes = [getattr(style, field_name) for style in (_TEMPERATE, _ARID, _DESERT)]
    return np.concatenate([*palettes, rgb(*codes)] if codes else palettes)


_MIXED = replace(
    _DESERT,
    name="d",
    kinds=(
        "desert_town", "desert_town", "desert_town", "settlement", "settlement", "settlement", "railway", "railway",
        "greenhouses", "greenhouses", "lake", "lake", "residential", "commercial", "commercial", "industrial",
        "harbour", "airport", "farmland", "park", "park",
    ),
    grass=_all("grass"),
    dry=_all("dry"),
    soil=_all("soil", "94643e", "8a5238", "6a5a4a"),
    crops=_all("crops"),
    leaves=_all("leaves", "22381c", "587038"),
    water=_all("water", "4a5a48", "5a5a44", "14303e", "3f6a74"),
    shallow=_all("shallow", "8a8468"),
    asphalt=_all("asphalt", "3e4044", "a09a90"),
    concrete=_all("concrete"),
    pitched_roof=_all("pitched_roof", "8a4438", "4a6a8a", "3f6a54", "a8aeb2", "7a5a48", "c8cacc"),
    flat_roof=_all(
        "flat_roof", "8a949c", "b4bcc0", "9a6a50", "6a7a8a", "4a5a70", "7a4a3a", "5f6a5a", "3a6aa0", "545658"
    ),
    court=_all("court"),
    tank=_all("tank"),
    sun_elevation=(28, 75),
    haze=(0.0, 0.26),
    saturation=(0.6, 1.2),
    warmth=(-0.05, 0.1),
    noise=(0.003, 0.024),
    blur=(0.3, 1.2),
    lot_width=(13, 26),
    crown_radius=(1.2, 4.4),
    tree_density=0.9,
    flat_fraction=0.5,
    dryness=(0.0, 0.9),
    autumn_fraction=0.08,
    texture=1.1,
    gsd_factor=1.0,
)  # fmt: skip

STYLES: dict[str, Style] = {style.name: style for style in (_TEMPERATE, _ARID, _DESERT, _MIXED)}
"""The styles by name: "a" is temperate (green, low sun, pitched roofs), "b" is arid (tan, high sun, flat roofs), "c"
is a desert and its coast (pale sand, few trees, blue sea), "d" has the colours of all three and more, and places that
only it has: green desert towns, settlements, railways, greenhouses, lakes. It is for pre-training."""


def get_style(name: str) -> Style:
    """Find a style by its name.

    Raises:
        InputError: there is no such style.
    """
    if name not in STYLES:
        raise InputError(f"style '{name}' does not exist; choose one of {', '.join(STYLES)}")
    return STYLES[name]
