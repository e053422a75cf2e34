"""The map from label values to class ids; the only place where label values become class ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sgovss.data.specification import DatasetSpecification
from sgovss.errors import InputError
from sgovss.label_ids import no_class_id

OUTSIDE = -1
_MANY = 4  # unknown values
_REMEDY = "add the value to a class or to 'ignore' in the dataset file"
IGNORED = "'ignore' of the dataset file"
_LARGEST = 2**16 - 1  # the table has an entry for each value up to this one


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A lookup table from label values to class ids.

    Attributes:
        table: (largest known 16-bit value + 2,) int32. Entry v is the class id of label value v, or ``ignore_label``,
            or -1 if v is not in the specification. The last entry is -1; it is used for all other values.
        ignore_label: 255, or 65535 if there are more than 255 classes.
        num_classes: number of classes; ids are 0 to ``num_classes - 1``.
        others: (value, id or ``ignore_label``) of negative values and of values above 65535, such as no-data values.
        remedy: how to make an unknown value known, in messages; ``{value}`` stands for the values.
        ignored: where the ignored values are given, in messages.
    """

    table: np.ndarray
    ignore_label: int
    num_classes: int
    others: tuple[tuple[int, int], ...] = ()
    remedy: str = _REMEDY
    ignored: str = IGNORED

    @classmethod
    def from_specification(cls, spec: DatasetSpecification) -> LabelMap:
        """Build the map for the labels that training reads."""
        return cls.from_values(spec.values, spec.ignore.values)

    @classmethod
    def from_values(
        cls,
        values: Sequence[Sequence[int]],
        ignored: Sequence[int],
        remedy: str = _REMEDY,
        ignored_in: str = IGNORED,
    ) -> LabelMap:
        """Build the map from the label values of each class, in id order, and the ignored label values."""
        ignore_label = no_class_id(len(values))
        ids = dict.fromkeys(ignored, ignore_label)
        ids |= {value: index for index, of_class in enumerate(values) for value in of_class}
        small = [value for value in ids if 0 <= value <= _LARGEST]
        table = np.full(max(small, default=0) + 2, OUTSIDE, np.int32)
        table[small] = [ids[value] for value in small]
        others = tuple((value, index) for value, index in ids.items() if value not in small)
        return cls(table, ignore_label, len(values), others, remedy, ignored_in)

    @property
    def dtype(self) -> type[np.generic]:
        """The smallest type that holds all ids and that Detectron2 can resize: uint8, else float32."""
        return np.uint8 if self.ignore_label == 255 else np.float32

    def without(self, held_out: Collection[int]) -> LabelMap:
        """A copy of the map that ignores the pixels of these classes and renumbers the other ids without gaps."""
        kept = [index for index in range(self.num_classes) if index not in held_out]
        new_ids = np.full(self.num_classes, self.ignore_label, np.int32)
        new_ids[kept] = np.arange(len(kept))
        table = self.table.copy()
        is_class = (table != OUTSIDE) & (table != self.ignore_label)
        table[is_class] = new_ids[table[is_class]]
        others = ((value, index if index == self.ignore_label else int(new_ids[index])) for value, index in self.others)
        return LabelMap(table, self.ignore_label, len(kept), tuple(others), self.remedy)

    def lookup(self, raw: np.ndarray) -> np.ndarray:
        """Convert an (H, W) integer array of label values to a new (H, W) int32 array of ids; -1 for unknown values."""
        last = len(self.table) - 1
        raw = np.asarray(raw, np.int64)
        ids = self.table[np.where(raw < 0, last, np.minimum(raw, last))]
        for value, index in self.others:
            ids[raw == value] = index
        return ids

    def __call__(self, raw: np.ndarray, source: str | Path) -> np.ndarray:
        """Convert like :meth:`lookup`, but refuse unknown values.

        Args:
            raw: (H, W) integers.
            source: the file that error messages name.

        Raises:
            InputError: a value is not in the specification; the message gives the value and its number of pixels.
        """
        ids = self.lookup(raw)
        outside = ids == OUTSIDE
        if outside.any():
            found, counts = np.unique(raw[outside], return_counts=True)
            most = int(np.argmax(counts))
            others = f" and {len(found) - 1} other such values" if len(found) > 1 else ""
            mixed = " (so many come from JPEG or from interpolation)" if len(found) >= _MANY else ""
            shown = found if len(found) < _MANY else found[[most]]
            remedy = self.remedy.format(value=",".join(map(str, shown.tolist())))
            raise InputError(
                f"{source}: label value {found[most]} ({counts[most]} pixels){others} is outside the dataset's "
                f"specification; correct the label{mixed}, or {remedy}"
            )
        return ids
