"""Drawing of generated datasets on first use."""

from __future__ import annotations

from pathlib import Path

from sgovss.data.listing import dataset_folder
from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.synthetic import write_images


def ensure_generated(spec: DatasetSpecification, root: str | Path | None = None) -> Path:
    """Return the folder of a generated dataset; draw its images if they do not exist.

    Args:
        spec: a specification with ``generator``.
        root: the folder that holds the dataset's folder; default as in :func:`dataset_folder`.

    Raises:
        InputError: the specification has no generator, or the folder cannot be written to or holds images that were
            drawn with other settings.
    """
    if spec.generator is None:
        raise InputError(f"dataset '{spec.name}' has no 'generator' in its file, so it cannot be drawn")
    folder = dataset_folder(spec, root)
    generator = spec.generator
    return write_images(folder.parent, folder.name, generator.splits, generator.size, generator.style)
