"""What the page gets: a picture to show, the classes of its pixels, and files to download."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from PIL import Image

from sgovss.inference.ranking import Ranking
from sgovss.page.asked import Asked
from sgovss.vocabulary import Vocabulary

_FULL = 65535  # a score or lead of 1; the label of a pixel without data


@dataclass(frozen=True)
class Picture:
    """A picture that the server holds.

    Attributes:
        name: name for further requests.
        width, height: in pixels, as given.
        title: the file name, or what an example shows.
        note: further facts in a few words, such as the coordinates; may be empty.
        scene: whether it is a scene, which is segmented at full size and gives georeferenced files.
    """

    name: str
    width: int
    height: int
    title: str
    note: str = ""
    scene: bool = False


@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        content: the open file.
        name: its name.
        kind: its media type.
    """

    content: BinaryIO
    name: str
    kind: str


class Desk(Protocol):
    """Holds pictures of one kind and segments them."""

    def preview(self, name: str) -> bytes:
        """Return a JPEG of the picture for the screen.

        Raises:
            InputError: the picture is no longer kept. So in the other methods.
        """

    def view(self, asked: Asked) -> View:
        """Segment a picture for the screen; the threshold is not applied."""

    def labels(self, asked: Asked) -> Download:
        """Segment a picture at full size and return its label map."""

    def files(self, asked: Asked) -> Download:
        """Segment a picture at full size and return a zip of all its products."""


@dataclass(frozen=True, eq=False)
class View:
    """The classes of a picture's pixels, as the page paints them.

    Attributes:
        legend: the classes.
        ranking: of the pixels, at the size of the view; a background class counts as "other".
        shares: fraction of the pixels of each class.
        areas: square metres of each class; None if the picture is not georeferenced.
        valid: (H, W) bool, the pixels with data.
        step: the scores are rounded to multiples of this.
    """

    legend: Vocabulary
    ranking: Ranking
    shares: Mapping[str, float]
    areas: Mapping[str, float] | None
    valid: np.ndarray
    step: float = 1 / _FULL

    def packed(self, seconds: float, notes: Sequence[str]) -> bytes:
        """Pack the view as one message, with the seconds it took and notes about the words.

        The message is the length of the JSON in bytes (4 bytes), the JSON with spaces up to a multiple of 4 bytes, and
        four arrays (H, W): labels (65535 where there is no data), next best labels, scores and leads (65535 is 1). All
        numbers are little-endian; those of the arrays are uint16.
        """
        height, width = self.valid.shape
        content = {"height": height, "width": width, "seconds": round(seconds, 2), "step": self.step}
        content |= {"notes": list(notes)}
        header = json.dumps({**content, "classes": self._classes()}).encode()
        header += b" " * (-len(header) % 4)
        ranking = self.ranking
        arrays = [np.where(self.valid, ranking.labels.numpy(), _FULL), ranking.runners_up.numpy()]
        arrays += [np.rint(part.numpy() * _FULL) for part in (ranking.scores, ranking.leads)]
        return b"".join([len(header).to_bytes(4, "little"), header, *(a.astype("<u2").tobytes() for a in arrays)])

    def _classes(self) -> list[dict[str, object]]:
        colors = self.legend.colors().tolist()
        return [
            {"name": name, "color": color, "share": self.shares[name], "area": self.areas and self.areas[name]}
            for name, color in zip(self.legend.names, colors, strict=True)
        ]


def jpeg(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def shares_csv(shares: Mapping[str, float], areas: Mapping[str, float] | None) -> str:
    """Write shares, and areas in square metres if there are any, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["class", "share", *(["square_metres"] if areas else [])])
    for name, share in shares.items():
        writer.writerow([name, share, *([areas[name]] if areas else [])])
    return text.getvalue()


def shares_json(shares: Mapping[str, float], areas: Mapping[str, float] | None) -> str:
    """Write the same as JSON."""
    return json.dumps({"shares": dict(shares), "square_metres": None if areas is None else dict(areas)}, indent=2)
