"""Registration of datasets with Detectron2, and the training vocabulary."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, Metadata, MetadataCatalog

from sgovss import paths
from sgovss.data.generated import ensure_generated
from sgovss.data.label_map import LabelMap
from sgovss.data.listing import dataset_folder, list_pairs
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import load_specification
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary

EVALUATOR_TYPE = "sgovss"
FILES_VARIABLE = "SGOVSS_DATASETS"


def register_dataset(spec: DatasetSpecification | str | Path, root: str | Path | None = None) -> list[str]:
    """Register every split of a dataset with Detectron2 as ``<name>_<split>``.

    The dataset's folder is not read. The files are listed, and ``$DETECTRON2_DATASETS`` is looked up, when the split is
    first used. Registering the same specification again changes nothing.

    The metadata has Detectron2's ``stuff_classes``, ``stuff_colors``, ``ignore_label``,
    ``stuff_dataset_id_to_contiguous_id`` and ``evaluator_type`` = "sgovss", and in addition ``vocabulary``
    (Vocabulary), ``label_map`` (LabelMap), ``specification``, ``split``, ``root`` and ``ground_sample_distance``.

    Args:
        spec: the specification, or the path of its YAML file.
        root: the folder that holds the dataset's folder; default as in :func:`sgovss.data.listing.dataset_folder`.

    Returns:
        The registered names.

    Raises:
        InputError: the file is wrong, or another dataset has the name already.
    """
    if not isinstance(spec, DatasetSpecification):
        spec = load_specification(spec)
    names = [f"{spec.name}_{split}" for split in spec.splits]
    for name in names:
        _refuse_conflict(name, spec, root)
    new = {name: split for name, split in zip(names, spec.splits, strict=True) if name not in DatasetCatalog}
    common = _metadata(spec, root) if new else {}
    for name, split in new.items():
        DatasetCatalog.register(name, partial(_records, spec, split, root))
        MetadataCatalog.get(name).set(split=split, **common)
    return names


def register_datasets(files: Iterable[str | Path] = ()) -> list[str]:
    """Register the datasets that come with sgovss, those of ``files``, and those in ``$SGOVSS_DATASETS``.

    Args:
        files: paths of dataset files. ``$SGOVSS_DATASETS`` also has paths, separated by ``os.pathsep``.

    Returns:
        The registered names.

    Raises:
        InputError: a file is wrong, or two different datasets have the same name.
    """
    named = [path for path in os.environ.get(FILES_VARIABLE, "").split(os.pathsep) if path]
    return [name for path in [*paths.dataset_files(), *files, *named] for name in register_dataset(path)]


def dataset_metadata(name: str) -> Metadata:
    """Detectron2's metadata of a dataset that was registered from a specification.

    Raises:
        InputError: there is no such dataset; the message lists similar names.
    """
    if name in DatasetCatalog and MetadataCatalog.get(name).get("specification") is not None:
        return MetadataCatalog.get(name)
    known = [other for other in DatasetCatalog if MetadataCatalog.get(other).get("specification") is not None]
    close = difflib.get_close_matches(name, known, n=3) or sorted(known)
    raise InputError(
        f"dataset '{name}' is not known; there are {', '.join(close) or 'none'}; name a dataset file in "
        f"DATASETS.SPECIFICATIONS or ${FILES_VARIABLE} to add one"
    )


def how_to_get(name: str) -> str | None:
    """Instructions for getting the files of a registered dataset, in one line; None if its folders exist.

    Raises:
        InputError: there is no such dataset.
    """
    metadata = dataset_metadata(name)
    spec: DatasetSpecification = metadata.specification
    folder = dataset_folder(spec, metadata.root)
    absent = [part for part in spec.splits[metadata.split].images if not (folder / part).is_dir()]
    if spec.generator is not None or not absent:
        return None
    made = (
        {part for name in spec.preparation.splits for part in spec.splits[name].images} if spec.preparation else set()
    )
    prepare = f"sgovss prepare {spec.name} --source DOWNLOADS"
    prepare = prepare if set(absent) <= made else f"see the notes in {spec.name}.yaml"
    return f"{name} is not in {folder}; source: {spec.source or 'not known'}; then: {prepare}"


def training_vocabulary(dataset_names: Sequence[str], unseen: Sequence[str] = ()) -> Vocabulary:
    """The classes that a model is trained on, in the order of the training ids.

    Args:
        dataset_names: the training sets (``DATASETS.TRAIN``); all must have the same classes.
        unseen: names or synonyms of the classes held out of training (``DATASETS.UNSEEN``), in singular or plural.

    Raises:
        InputError: there is no training set, the sets have different classes, a name in ``unseen`` is not a class, or
            no class is left.
    """
    held_out = held_out_ids(dataset_names, unseen)
    kept = [entry for i, entry in enumerate(_common_vocabulary(dataset_names)) if i not in held_out]
    if not kept:
        raise InputError(f"DATASETS.UNSEEN holds out every class of {dataset_names[0]}; leave at least one")
    return Vocabulary(kept, source=f"training classes of {', '.join(dataset_names)}")


def held_out_ids(dataset_names: Sequence[str], unseen: Sequence[str]) -> tuple[int, ...]:
    """Ids of the classes held out of training, in the class order of the datasets, sorted.

    Args and errors are those of :func:`training_vocabulary`.
    """
    vocabulary = _common_vocabulary(dataset_names)
    held_out = vocabulary.named(unseen, "DATASETS.UNSEEN", dataset_names[0])
    return tuple(sorted({vocabulary.index(entry) for entry in held_out}))


def _common_vocabulary(dataset_names: Sequence[str]) -> Vocabulary:
    if not dataset_names:
        raise InputError("DATASETS.TRAIN names no training set; give at least one, such as ('dubai_mbrsc_train',)")
    first, *others = dataset_names
    vocabulary: Vocabulary = dataset_metadata(first).vocabulary
    for name in others:
        # If a class were in one set only, training would treat it as absent from the images of the others.
        if dataset_metadata(name).vocabulary != vocabulary:
            raise InputError(
                f"DATASETS.TRAIN: {first} and {name} have different classes; train on datasets with the same classes"
            )
    return vocabulary


def _refuse_conflict(name: str, spec: DatasetSpecification, root: str | Path | None) -> None:
    if name not in DatasetCatalog:
        return
    known = MetadataCatalog.get(name)
    if known.get("specification") != spec:
        raise InputError(f"dataset name '{name}' belongs to another dataset already; change 'name' in the dataset file")
    if root is not None and known.root != str(root):
        raise InputError(f"dataset '{name}' is registered with root {known.root} already, not {root}; give one root")


def _metadata(spec: DatasetSpecification, root: str | Path | None) -> dict[str, Any]:
    """The metadata of every split."""
    label_map, vocabulary = LabelMap.from_specification(spec), spec.vocabulary
    return {
        "stuff_classes": vocabulary.names,
        "stuff_colors": vocabulary.colors().tolist(),
        "stuff_dataset_id_to_contiguous_id": {values[0]: i for i, values in enumerate(spec.values)},
        "ignore_label": label_map.ignore_label,
        "evaluator_type": EVALUATOR_TYPE,
        "vocabulary": vocabulary,
        "label_map": label_map,
        "specification": spec,
        "root": None if root is None else str(root),
        "ground_sample_distance": spec.ground_sample_distance,
    }


def _records(spec: DatasetSpecification, split: str, root: str | Path | None) -> list[dict[str, str]]:
    if spec.generator is not None:
        ensure_generated(spec, root)
    return list_pairs(spec, split, root)
