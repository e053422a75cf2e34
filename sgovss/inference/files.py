"""From image files to overlay, label and share files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from sgovss.data.labels import read_rgb
from sgovss.data.listing import IMAGE_SUFFIXES, list_images
from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically
from sgovss.inference.overlay import class_shares, draw_overlay, save_label_png
from sgovss.inference.predictor import Predictor
from sgovss.inference.rejection import Rejection
from sgovss.inference.report import ClassRow, ReportEntry
from sgovss.vocabulary import Vocabulary

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".img")
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
    owners: dict[Path, Path] = {}
    for path, name in found.items():
        if owners.setdefault(name, path) != path:
            raise InputError(f"{owners[name]} and {path} would both be written as '{name}'; segment them one by one")
    return found


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


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f"{target.name}_{ending}")
