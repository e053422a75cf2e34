"""The data at hand: sets of images with captions, how each is split, and whether its licence is an open one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from research.pretraining.manifests import Record, published_split, read_manifest, split

LICENCES = ("any", "open")


@dataclass(frozen=True)
class Source:
    """A set of images with captions.

    Attributes:
        folder: its folder in the data folder.
        manifest: the file with the captions in that folder.
        images: the folder that the manifest's files are relative to.
        published: whether the manifest's own split is used, instead of every fifth image of a scene.
        open_licence: whether the images may be used for anything.
    """

    folder: str
    manifest: str
    images: str
    published: bool
    open_licence: bool

    def records(self, data: Path) -> tuple[list[Record], list[Record]]:
        """Images for training and held-out ones.

        Raises:
            InputError: the set is not in the data folder, or its manifest is damaged.
        """
        folder = data / self.folder
        records = read_manifest(folder / self.manifest, folder / self.images)
        return (published_split if self.published else split)(records)


UCM = Source("ucm", "captions_ucm.jsonl", "", published=False, open_licence=True)
RSICD = Source("rsicd_aid150", "captions.jsonl", "images", published=True, open_licence=False)
"""RSICD's captions and AID's images are for academic research."""

SOURCES = (UCM, RSICD)


def allowed_sources(licence: str) -> list[Source]:
    """The sets that a licence of :data:`LICENCES` leaves: ``open`` leaves out AID and RSICD."""
    return [source for source in SOURCES if source.open_licence or licence == "any"]
