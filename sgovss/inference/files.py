"""From image files to overlay, label and share files."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sgovss.data.labels import image_size, read_rgb
from sgovss.data.listing import IMAGE_SUFFIXES, list_images
from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.report import ClassRow, ReportEntry
from sgovss.painting import class_shares, draw_overlay, save_label_png
from sgovss.vocabulary import Vocabulary

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
# Scores of an image in one piece; with what the encoder holds meanwhile they take some 6 GB.
_SCORES_AT_ONCE = 400_000_000
_FEWEST_CLASSES = 16  # up to which the encoder takes more memory than the scores
_SUFFIXES = tuple(dict.fromkeys((*IMAGE_SUFFIXES, *RASTER_SUFFIXES)))


def find_images(inputs: Sequence[str | Path], without: str | Path | None = None) -> dict[Path, Path]:
    """The image files among files and folders, each with the name of its outputs.

    Args:
        inputs: image and raster files, or folders that are searched through for them.
        without: a folder to leave out, such as that of the outputs.

    Returns:
        path of the image -> relative path of its outputs, without suffix.

    Raises:
        InputError: a path does not exist, a folder has no image, or two images' outputs have one name.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            files = [file for file in list_images(path, _SUFFIXES) if not _below(file, without)]
            found.update({file: file.relative_to(path).with_suffix("") for file in files})
        elif path.is_file():
            found[path] = Path(path.stem)
        else:
            raise InputError(f"{path}: no such file or folder")
    if odd := [path for path in found if not _is_text(path)]:
        raise InputError(f"{str(odd[0])!a}: the name of this file is no UTF-8 text; rename it")
    owners: dict[Path, Path] = {}
    for path, name in found.items():
        if owners.setdefault(name, path) != path:
            raise InputError(f"{owners[name]} and {path} would both be written as '{name}'; segment them one by one")
    return found


def classes_at_once(size: tuple[int, int]) -> int:
    """How many classes an image of (height, width) pixels can be segmented into in one piece, as for memory; 0 if it
    is too large for any."""
    fitting = _SCORES_AT_ONCE // (size[0] * size[1])
    return fitting if fitting >= _FEWEST_CLASSES else 0


def window_at_once(classes: int) -> int:
    """The side in pixels of the largest square that can be segmented into so many classes in one piece."""
    return math.isqrt(_SCORES_AT_ONCE // max(classes, _FEWEST_CLASSES))


def is_large(path: Path, classes: int) -> bool:
    """Whether an image file must be segmented window by window.

    Raises:
        InputError: it is no image.
    """
    try:
        return classes_at_once(image_size(path)) < classes
    except InputError as error:
        if isinstance(error.__cause__, Image.DecompressionBombError):
            return True
        raise


def _below(file: Path, folder: str | Path | None) -> bool:
    return folder is not None and Path(folder).resolve() in file.resolve().parents


def segment_file(
    predictor: Predictor, path: Path, vocabulary: Vocabulary, target: Path, rejection: Rejection
) -> ReportEntry:
    """Segment one image file and write what a person and a program want to see of it.

    Writes ``<target>_overlay.png`` (with legend), ``<target>_labels.png`` (class ids, coloured by a
    palette) and ``<target>_shares.json``.

    Raises:
        InputError: the image cannot be read, or the outputs cannot be written.
    """
    try:
        return _segment_file(predictor, path, vocabulary, target, rejection)
    except OSError as error:
        raise InputError(f"{target}: cannot write ({error.strerror or error})") from error


def _segment_file(
    predictor: Predictor, path: Path, vocabulary: Vocabulary, target: Path, rejection: Rejection
) -> ReportEntry:
    started = time.monotonic()
    image = read_rgb(path)
    prediction = predictor(image, vocabulary, rejection)
    legend = prediction.legend
    save_label_png(_beside(target, "labels.png"), prediction.labels, legend)
    shares = class_shares(prediction.labels, legend)
    content = {
        "image": str(path),
        "height": image.shape[0],
        "width": image.shape[1],
        "mean_score": float(prediction.scores.mean()),
        "shares": shares,
    }
    write_json_atomically(_beside(target, "shares.json"), content)
    overlay = _beside(target, "overlay.png")
    with atomic_path(overlay) as temporary:
        Image.fromarray(draw_overlay(image, prediction.labels, legend)).save(temporary)
    colors = legend.colors().tolist()
    rows = [ClassRow(name, tuple(color), shares[name]) for name, color in zip(legend.names, colors, strict=True)]
    facts = {"size": f"{image.shape[1]} x {image.shape[0]} pixels", "time": f"{time.monotonic() - started:.1f} s"}
    return ReportEntry(str(path), overlay, rows, facts)


def _is_text(path: Path) -> bool:
    """Whether a name can stand in a report; file systems take any bytes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f"{target.name}_{ending}")
