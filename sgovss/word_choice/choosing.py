"""Choose the words of classes by images with labels, or give hints by images without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from sgovss.errors import InputError
from sgovss.inference.predictor import Predictor
from sgovss.vocabulary import Vocabulary
from sgovss.word_choice.candidates import Candidates
from sgovss.word_choice.diagnosis import QUARTER_TURNS, Twins, WordHint, WordUse, find_twins, word_hints, word_uses
from sgovss.word_choice.grid import Grid
from sgovss.word_choice.material import Material, absent_classes
from sgovss.word_choice.scoring import ScoredImage, cells_each
from sgovss.word_choice.search import random_choice
from sgovss.word_choice.validation import Chooser, Validation

_MOST_RANDOM = 3  # words of a class in a random choice
_FEW = 40  # images below which offsets harm a fine-tuned model


@dataclass(frozen=True)
class ChoiceOptions:
    """How to choose.

    Attributes:
        folds: blocks of images that are left out in turn.
        random: number of random choices in the spread.
        seed: of the random choices.
        offsets: whether to choose offsets of the classes too.
        cache: folder that keeps encoded images; None to keep them in memory.

    Raises:
        InputError: a number is too small.
    """

    folds: int = 5
    random: int = 100
    seed: int = 0
    offsets: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("folds", 2), ("random", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} {getattr(self, name)}: give {least} or more")


@dataclass(frozen=True)
class WordChoice:
    """Words chosen by labelled images.

    Attributes:
        candidates: the words.
        images: the images.
        validation: the choices, and their scores on images that did not choose.
        chosen: the vocabulary to use: that in use if there is no gain.
        vocabularies: for each image, what the other images chose; the choice of all if there is only one image.
        spread: mIoU in percent, on the grid, of random choices.
        marks: mIoU in percent, on the grid and on all images, of the words in use and of the chosen ones.
        uses, twins: what words do when all compete.
        lines: for the user, about gain, offsets and classes without a label.
    """

    candidates: Candidates
    images: Sequence[ScoredImage]
    validation: Validation
    chosen: Vocabulary
    vocabularies: Sequence[Vocabulary]
    spread: Sequence[float]
    marks: dict[str, float]
    uses: Sequence[WordUse]
    twins: Sequence[Twins]
    lines: Sequence[str]


def choose_words(
    predictor: Predictor, material: Material, candidates: Candidates, options: ChoiceOptions
) -> WordChoice:
    """Choose words by labelled images.

    Raises:
        InputError: an image or label cannot be read, no pixel has a class, or two words are the same to the text
            encoder.
    """
    images = [ScoredImage(predictor, sample, options.cache) for sample in material.samples]
    grids = _grids(images, candidates)
    everything = Grid.join(grids)
    if not everything.truth.any():
        raise InputError("--labels: no pixel of any image has a class; check the label values (--values)")
    chooser = Chooser(images, grids, candidates, options.offsets)
    with tqdm(total=min(options.folds, len(images)) + (len(images) > 1), desc="choosing", unit="choice") as progress:
        validation = chooser.validate(options.folds, progress.update)
    chosen, lines = decide(chooser, validation, fine_tuned=bool(predictor.cfg.MODEL.WEIGHTS))
    if absent := absent_classes(everything.truth, candidates.before.names):
        lines.append(f"no pixel is labelled {', '.join(absent)}; the words of such classes are kept as they are")
    generator = np.random.default_rng(options.seed)
    drawn = [random_choice(candidates, generator, _MOST_RANDOM) for _ in range(options.random)]
    embeddings = predictor.model.text_embedder(candidates.single).embeddings.cpu().numpy()
    left_out = {place: fold.chosen for fold in validation.folds for place in fold.images}
    marks = {"in use": candidates.choice, "chosen by the same images": validation.final.choice}
    return WordChoice(
        candidates=candidates,
        images=images,
        validation=validation,
        chosen=chosen,
        vocabularies=[chooser.vocabulary(left_out.get(place, validation.final)) for place in range(len(images))],
        spread=[everything.score(choice) for choice in tqdm(drawn, desc="random choices", unit="choice")],
        marks={name: everything.score(choice) for name, choice in marks.items()},
        uses=word_uses(everything, candidates),
        twins=find_twins(everything, candidates, embeddings),
        lines=lines,
    )


def hint_words(predictor: Predictor, material: Material, candidates: Candidates) -> list[WordHint]:
    """Measure how stable the maps of words are, on images without labels.

    Raises:
        InputError: an image cannot be read, or two words are the same to the text encoder.
    """
    maps = []
    for sample in tqdm(material.samples, desc="scoring", unit="image"):
        image = ScoredImage(predictor, sample)
        turned = (image.turned(candidates.single, each) for each in QUARTER_TURNS)
        maps.append([each[:, ::4, ::4].numpy() for each in turned])
    return word_hints(maps, candidates)


def _grids(images: Sequence[ScoredImage], candidates: Candidates) -> list[Grid]:
    cells = cells_each(len(images))
    return [image.grid(candidates, cells) for image in tqdm(images, desc="encoding and scoring", unit="image")]


def decide(chooser: Chooser, validation: Validation, fine_tuned: bool) -> tuple[Vocabulary, list[str]]:
    """Decide whether to use chosen words and offsets: not without a gain on images that did not choose.

    Args:
        chooser: the chooser.
        validation: its choices.
        fine_tuned: whether the model was fine-tuned.

    Returns:
        the vocabulary to use, and lines for the user about it.
    """
    candidates, gain, final = chooser.candidates, validation.gain("after"), validation.final
    if gain is None:
        lines = ["one image: none is left to test the choice on, so its gain elsewhere is not known; label a second"]
    else:
        before, after = validation.held_out("before"), validation.held_out("after")
        lines = [
            f"mIoU on images that did not choose: {before:.1f} with the words in use, {after:.1f} with chosen ones "
            f"({gain:+.1f}); {len(validation.folds)} blocks of images"
        ]
    harmful = final.choice != candidates.choice and gain is not None and gain <= 0
    if harmful or final.choice == candidates.choice:
        lines.append("no gain: the words in use are kept")
    shifted = False
    if final.offsets is not None:
        shifted, more = _offset_gain(validation, harmful, fine_tuned)
        lines += more
    return candidates.before if harmful else chooser.vocabulary(final, offsets=shifted), lines


def _offset_gain(validation: Validation, harmful: bool, fine_tuned: bool) -> tuple[bool, list[str]]:
    """Whether to use the offsets, and lines about them; not if the words that they belong to are harmful."""
    gains = [validation.gain("shifted", over) for over in ("before", "after")]
    gain = min((each for each in gains if each is not None), default=None)
    images = sum(len(fold.images) for fold in validation.folds)
    if gain is None:
        return False, ["--offsets: not written, since no image is left to test them on; label a second"]
    if harmful:
        return False, ["--offsets: not written, since they belong to words without a gain"]
    if gain <= 0:
        return False, [f"--offsets: not written, since the mIoU on images that did not choose changes by {gain:+.1f}"]
    lines = [f"--offsets: written; they add {gain:.1f} to the mIoU on images that did not choose"]
    if fine_tuned and images < _FEW:
        lines.append(f"warning: offsets of a fine-tuned model that {images} images chose often harm on other images")
    return True, lines
