"""The views in which an image is scored: orientations and scales. The scores of all views are averaged.

A set of views is written as a list, such as ``turns, 1, 1.5``: four quarter turns at two scales, eight views.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sgovss.errors import InputError

if TYPE_CHECKING:
    import torch

LARGEST_SCALE = 4.0

QUALITIES: dict[str, tuple[str, ...]] = {"fast": (), "good": ("turns",), "best": ("turns", "1", "1.5")}
"""Sets of views by name; docs/views.md shows what each costs and gains."""

_GRAMMAR = f"'turns', 'mirror', or a scale from {1 / LARGEST_SCALE} to {LARGEST_SCALE:g}"


@dataclass(frozen=True)
class Orientation:
    """A quarter turn of an image or of its mirror image.

    Args:
        turns: number of quarter turns, counter-clockwise, 0 to 3.
        mirrored: whether left and right are exchanged first.
    """

    turns: int = 0
    mirrored: bool = False

    def apply(self, x: torch.Tensor) -> torch.Tensor:
        """(..., H, W) -> the same in this orientation, (..., W, H) after an odd number of turns."""
        return (x.flip(-1) if self.mirrored else x).rot90(self.turns, (-2, -1))

    def undo(self, x: torch.Tensor) -> torch.Tensor:
        """The inverse of :meth:`apply`."""
        x = x.rot90(-self.turns, (-2, -1))
        return x.flip(-1) if self.mirrored else x


@dataclass(frozen=True)
class ViewSet:
    """Orientations and scales; each orientation is combined with each scale.

    Args:
        turns: whether to use all four quarter turns.
        mirror: whether to add the mirror image of each.
        scales: factors of the image's sides.
    """

    turns: bool = False
    mirror: bool = False
    scales: tuple[float, ...] = (1.0,)

    @property
    def orientations(self) -> list[Orientation]:
        """The orientations, the image's own first."""
        mirrored = (False, True) if self.mirror else (False,)
        # Opposite turns follow each other, so that rounding treats a turned image like the image itself.
        turns = (0, 2, 1, 3) if self.turns else (0,)
        return [Orientation(turn, side) for side in mirrored for turn in turns]

    @property
    def names(self) -> list[str]:
        """A name for each view, scale by scale, such as ``1.5_turn3_mirrored``."""
        sides = ("", "_mirrored")
        return [
            f"{scale:g}_turn{each.turns}{sides[each.mirrored]}" for scale in self.scales for each in self.orientations
        ]

    def __len__(self) -> int:
        return len(self.orientations) * len(self.scales)


def parse_views(items: str | Sequence[str | float], source: str = "TEST.VIEWS") -> ViewSet:
    """Read a set of views.

    Args:
        items: names and scales, in any order, or a text of them with commas. Without a scale, the scale is 1.
        source: where they come from, for messages.

    Raises:
        InputError: an item is unknown or given twice, or a scale is out of range.
    """
    listed: Sequence[str | float] = items.split(",") if isinstance(items, str) else items
    words = [str(item).strip().lower() for item in listed]
    if words in ([""], ["one"]):
        return ViewSet()
    scales = tuple(_scale(word, source) for word in words if word not in ("turns", "mirror"))
    names = [word for word in words if word in ("turns", "mirror")]
    for several in (names, scales):
        if len(set(several)) < len(several):
            raise InputError(f"{source}: {', '.join(words)} has an item twice; give each once")
    return ViewSet("turns" in names, "mirror" in names, scales or (1.0,))


def _scale(word: str, source: str) -> float:
    try:
        scale = float(word)
    except ValueError:
        raise InputError(f"{source}: '{word}' is not a view; give {_GRAMMAR}") from None
    if not (math.isfinite(scale) and 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE):
        raise InputError(f"{source}: the scale {word} is out of range; give {_GRAMMAR}")
    return scale
