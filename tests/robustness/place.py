"""Folder of a case: writes valid inputs, which the case then damages, and builds the commands' arguments."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

FIELDS = {
    "name": "fields",
    "title": "Fields",
    "source": None,
    "licence": None,
    "citation": None,
    "verified": "unverified",
    "ground_sample_distance": 0.5,
    "classes": [{"name": "field", "value": 1}, {"name": "river", "value": 2}, {"name": "hedge", "value": 3}],
    "ignore": {"values": [0]},
    "splits": {
        "train": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "a_*"},
        "test": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "b_*"},
    },
}
SHORE = FIELDS | {
    "name": "shore",
    "classes": [{"name": "grass", "color": [0, 160, 0]}, {"name": "water", "color": [0, 0, 200]}],
    "ignore": {"values": [255]},
    "splits": {"train": {"images": "images", "labels": "labels"}},
    "preparation": {"labels": "colors", "splits": {"train": {"images": "p/{*}.png", "labels": "m/{*}.png"}}},
}


class Place:
    """Writes inputs into a folder and returns arguments of commands.

    Args:
        folder: an empty folder.
        stack: context managers entered here are closed after the command has ended.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.output = folder / "out"

    def write(self, name: str, content: bytes | str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def picture(self, name: str, pixels: np.ndarray | Image.Image | None = None, **options: object) -> Path:
        """Write an image of (H, W) or (H, W, 3) pixels; by default (40, 60, 3) of noise."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = noise() if pixels is None else pixels
        picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        picture.save(path, **options)
        return path

    def demo(self, image: Path | None = None, vocabulary: str = "building, road, water", *options: str) -> list[str]:
        """Return arguments of demo.py; ``--opts`` is added if it is not among the options."""
        image = image or self.picture("photo.png")
        argv = ["--config-file", "sgovss_tiny.yaml", "--input", str(image), "--vocabulary", vocabulary]
        opts = [] if "--opts" in options else ["--opts"]
        return [*argv, "--output", str(self.output), *options, *opts, "MODEL.DEVICE", "cpu"]

    def fields(self, **changes: object) -> Path:
        """Draw three pairs of image and label; write and return the YAML file of their dataset."""
        for seed, key in enumerate(("a_0", "a_1", "b_0")):
            squares = np.random.default_rng(seed).integers(0, 4, (3, 4), np.uint8)
            labels = np.kron(squares, np.ones((8, 8), np.uint8))
            self.picture(f"fields/images/{key}.jpg", np.repeat(labels[..., None] * 60, 3, axis=2))
            self.picture(f"fields/labels/{key}.png", labels)
        return self.write("fields.yaml", yaml.safe_dump(FIELDS | {"root": str(self.folder)} | changes))

    def train(self, *options: object, config: Path | str = "sgovss_tiny.yaml") -> list[str]:
        """Return arguments of train_net.py for one step on the fields, with further KEY VALUE options."""
        file = self.folder / "fields.yaml"
        defaults = {
            "DATASETS.SPECIFICATIONS": f"({str(file if file.exists() else self.fields())!r},)",
            "DATASETS.TRAIN": "('fields_train',)",
            "DATASETS.TEST": "('fields_test',)",
            "DATASETS.UNSEEN": "()",
            "MODEL.CLIP.WEIGHTS": "random",
            "MODEL.DEVICE": "cpu",
            "INPUT.MIN_SIZE_TRAIN": "(48,)",
            "INPUT.CROP.SIZE": "[32,32]",
            "SOLVER.IMS_PER_BATCH": "1",
            "SOLVER.MAX_ITER": "1",
            "OUTPUT_DIR": self.output,
        }
        pairs = [str(part) for pair in defaults.items() for part in pair]
        return ["--config-file", str(config), *pairs, *map(str, options)]

    def check(self, file: Path | str | None = None) -> list[str]:
        """Return arguments of datasets/check.py."""
        return [str(file or self.folder / "fields.yaml"), "--workers", "1", "--output", str(self.output)]

    def shore(self, **changes: object) -> Path:
        """Draw two pairs of image and mask below ``raw``; write and return the YAML file to prepare them."""
        for key in "01":
            ids = np.random.default_rng(int(key)).integers(0, 2, (24, 32))
            self.picture(f"raw/p/{key}.png", noise((24, 32)))
            self.picture(f"raw/m/{key}.png", np.array([[0, 160, 0], [0, 0, 200]], np.uint8)[ids])
        return self.write("shore.yaml", yaml.safe_dump(SHORE | changes))

    def prepare(self, file: Path | str | None = None, source: Path | str | None = None) -> list[str]:
        """Return arguments of datasets/prepare.py."""
        source = source or self.folder / "raw"
        argv = [str(file or self.shore()), "--source", str(source)]
        return [*argv, "--root", str(self.output), "--workers", "1"]


def noise(size: tuple[int, int] = (40, 60)) -> np.ndarray:
    """Return (H, W, 3) uint8 noise."""
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
