"""The shipped datasets: their classes, colours, splits and class ids are those recorded before variants existed."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgovss.data.label_map import LabelMap
from sgovss.data.raw_labels import RawLabels
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_file import find_specification
from sgovss.paths import dataset_files

# For each dataset: classes, colours, label values on disk, published value or colour -> class id, and splits. Written
# when each variant still had a full file and labels of its own.
RECORDED = json.loads((Path(__file__).parent / "shipped_datasets.json").read_text(encoding="utf-8"))
NAMES = sorted(path.stem for path in dataset_files())
# The variant's own preparation accepted 255 in published labels, which LoveDA's labels (0 to 7) do not have.
del RECORDED["loveda_with_no_data"]["ids"]["255"]
# The synonym that VDD's class of the same name had already.
for _name in ("floodnet", "floodnet_without_background", "udd5", "udd6"):
    next(names for names in RECORDED[_name]["classes"] if names == ["vehicle"]).append("car")
# Splits that were added since.
ADDED = {"potsdam": {"train_without_7_10"}, "potsdam_without_clutter": {"train_without_7_10"}}


def ids_by_published_value(spec: DatasetSpecification) -> dict[str, int]:
    """Class id that training sees for each value or colour of the published labels; the ignore label if ignored."""
    label_map, prepared = LabelMap.from_specification(spec), spec.prepared_by
    if prepared.preparation is None:
        values = [value for of_class in (*spec.values, spec.ignore.values) for value in of_class]
        return {str(value): int(label_map.lookup(np.array([[value]]))[0, 0]) for value in values}
    known = {
        "values": [value for of_class in (*prepared.raw_values, prepared.raw_ignored) for value in of_class],
        "threshold": [0, 255],
    }.get(prepared.preparation.labels)
    if known is None:
        known = [color for of_class in (*prepared.mask_colors, prepared.ignore.colors) for color in of_class]
    reader, found = RawLabels(prepared), {}
    for item in known:
        file = io.BytesIO()
        Image.fromarray(np.array([[item]], np.uint8)).save(file, "PNG")
        stored = reader.written(reader.read(file.getvalue(), "label.png"))
        found[",".join(map(str, np.atleast_1d(item)))] = int(label_map(stored, "label.png")[0, 0])
    return found


def splits_of(spec: DatasetSpecification) -> dict[str, dict]:
    return {
        name: {
            "images": list(part.images),
            "labels": list(part.labels),
            "suffixes": [part.image_suffix, part.label_suffix],
            "select": hashlib.sha256(" ".join(part.select).encode()).hexdigest()[:12],
            "count": part.count,
            "includes": list(part.includes),
        }
        for name, part in spec.splits.items()
        if name not in ADDED.get(spec.name, ())
    }


def test_every_dataset_is_recorded():
    assert sorted(RECORDED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_classes_colours_splits_and_ids_are_unchanged(name):
    spec, recorded = find_specification(name), RECORDED[name]
    assert [[entry.name, *entry.synonyms] for entry in spec.vocabulary] == recorded["classes"]
    assert [entry.color and list(entry.color) for entry in spec.vocabulary] == recorded["colors"]
    gsd = spec.ground_sample_distance
    assert (list(gsd) if isinstance(gsd, tuple) else gsd) == recorded["gsd"]
    assert ids_by_published_value(spec) == recorded["ids"]
    splits, expected, base = splits_of(spec), recorded["splits"], spec.prepared_by
    if base is spec:
        assert [list(values) for values in spec.values] == recorded["values"]
    else:
        # A variant had label images of its own; now it reads those of its base.
        expected = {split: part | {"labels": list(base.splits[split].labels)} for split, part in expected.items()}
    assert splits == expected
    assert list(splits) == list(expected)


VARIANTS = {
    "floodnet_without_background": "floodnet",
    "isaid_with_background": "isaid",
    "loveda_with_no_data": "loveda",
    "openearthmap_with_background": "openearthmap",
    "potsdam_without_clutter": "potsdam",
    "uavid_merged_cars": "uavid",
    "vaihingen_without_clutter": "vaihingen",
}


@pytest.mark.parametrize("name", NAMES)
def test_variants_read_the_files_of_their_base(name):
    spec = find_specification(name)
    assert spec.prepared_by.name == VARIANTS.get(name, name)
    if name in VARIANTS:
        base = find_specification(VARIANTS[name])
        assert spec.folder == (base.folder or base.name)
        assert {split: (part.images, part.labels) for split, part in base.splits.items()}.items() >= {
            split: (part.images, part.labels) for split, part in spec.splits.items()
        }.items()
