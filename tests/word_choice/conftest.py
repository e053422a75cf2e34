"""A small grid with known logits, and images of two colours with the embedded model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sgovss
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates
from sgovss.word_choice.grid import Grid


@pytest.fixture(scope="session")
def predictor() -> sgovss.Predictor:
    """The embedded model without fine-tuning."""
    return sgovss.Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


def random_grid(seed: int, words: int = 7, classes: int = 3, cells: int = 200) -> Grid:
    """A grid of random logits and labels; every third cell has no label."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 9, (classes, cells)) * (
        generator.integers(0, classes, cells) == np.arange(classes)[:, None]
    )
    truth[:, ::3] = 0
    return Grid(generator.normal(size=(words, cells)).astype(np.float32), truth.astype(np.float32))


def three_classes() -> Candidates:
    """Three classes of seven words: the first word of each is in use; word 6 is a candidate of two classes."""
    return Candidates.of(Vocabulary.from_string("a, b, c"), [["d", "e"], ["f", "g"], ["g"]])


def write_scenes(folder: Path, number: int, size: int = 96) -> None:
    """Write photographs of half grass and half water, and labels 0 and 1; the last row has no class."""
    generator = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(number):
        labels = np.zeros((size, size), np.uint8)
        labels[:, size // 2 :] = 1
        colors = np.array([[70, 130, 50], [30, 70, 140]])[labels] + generator.integers(-20, 20, (size, size, 1))
        labels[-1] = 255
        Image.fromarray(colors.astype(np.uint8)).save(folder / "images" / f"scene_{index}.png")
        Image.fromarray(labels).save(folder / "labels" / f"scene_{index}.png")
