"""What the page asks for: the JSON of a request, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sgovss.errors import InputError
from sgovss.inference.rejection import Rejection
from sgovss.vocabulary import Vocabulary

_EXAMPLE = '{"image": "…", "words": "building, road"}'


@dataclass(frozen=True)
class Asked:
    """A picture and the classes to segment it into.

    Attributes:
        picture: name of the picture, as the server gave it.
        vocabulary: the classes.
        rejection: rule for labelling pixels as "other".
        gsd: metres per pixel at which the model gets a scene; 0 as in its training.
    """

    picture: str
    vocabulary: Vocabulary
    rejection: Rejection
    gsd: float = 0.0

    @classmethod
    def parse(cls, content: Any) -> Asked:
        """Check the JSON of a request: ``image`` and ``words``, optionally ``background``, ``threshold`` and ``gsd``.

        Raises:
            InputError: the request is wrong.
        """
        if not isinstance(content, dict):
            raise InputError(f"the request is not a JSON object; send {_EXAMPLE}")
        for key in ("image", "words"):
            if not isinstance(content.get(key), str):
                raise InputError(f"the request has no {key}, which must be text; send {_EXAMPLE}")
        rejection = Rejection.parse(_number(content, "threshold"), str(content.get("background") or ""))
        vocabulary = Vocabulary.from_string(content["words"], "classes")
        return cls(content["image"], vocabulary, rejection, _number(content, "gsd"))

    def without_threshold(self) -> Asked:
        """The same without a threshold, which the page applies itself."""
        return replace(self, rejection=replace(self.rejection, threshold=0.0))

    @property
    def scored(self) -> Vocabulary:
        """The classes to score; the last is the background, if there is one."""
        return self.rejection.scored(self.vocabulary)

    @property
    def legend(self) -> Vocabulary:
        """The classes of the result."""
        return self.rejection.legend(self.vocabulary)


def _number(content: dict[str, Any], key: str) -> float:
    value = content.get(key, 0.0)
    try:
        return float(value or 0.0)
    except (TypeError, ValueError) as error:
        raise InputError(f"{key}: '{value}' is not a number; write one, such as 0.5") from error
