"""Dataset specification: classes, label values, colours, splits and source of a dataset, with all checks.

A specification is one YAML file (:func:`sgovss.data.specification_file.load_specification`); adding a dataset needs no
code. Folder names are relative to the dataset's own folder below the datasets root.
"""

from __future__ import annotations

from pydantic import PrivateAttr, model_validator
from pydantic_core import PydanticCustomError

from sgovss.data.specification_fields import DatasetFields
from sgovss.data.specification_rules import problems


class DatasetSpecification(DatasetFields):
    """A dataset. The fields are those of :class:`DatasetFields`; this class also checks that they fit each other.

    Raises:
        pydantic.ValidationError: the content is wrong. When a file is read, this becomes an InputError.
    """

    _base: DatasetSpecification | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _is_consistent(self) -> DatasetSpecification:
        for path, problem in problems(self):
            raise PydanticCustomError("specification", "{problem}", {"problem": problem, "path": path})
        return self

    @property
    def prepared_by(self) -> DatasetSpecification:
        """The dataset whose preparation writes the files of this one: the base of a variant, else itself."""
        return self if self._base is None else self._base
