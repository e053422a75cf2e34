"""Conversion of published labels, colours or raw values, to the label images that training reads."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from sgovss.data.channels import eight_bit_colors, stored_channels
from sgovss.data.label_map import OUTSIDE, LabelMap
from sgovss.data.labels import LABEL_MODES, UnknownTiffError, is_deep, open_image, read_values
from sgovss.data.orientation import orientation, refuse_turned
from sgovss.data.specification import DatasetSpecification
from sgovss.data.specification_fields import MAX_VALUE
from sgovss.errors import InputError
from sgovss.label_ids import no_class_id

_THRESHOLD = 128
# Interpolation mixes the values of the classes on the two sides of a border. A mask counts as interpolated if it has at
# least _FEWEST_MIXTURES unknown values, and if at least _BORDER_FRACTION of the unknown pixels lie, in each channel,
# between the known values within a window of _BORDER x _BORDER pixels. Cubic kernels overshoot by up to _OVERSHOOT of
# their range.
_BORDER = 13
_OVERSHOOT = 0.125
_BORDER_FRACTION = 0.9
_FEWEST_MIXTURES = 3
_NONE = np.float32(1e30)  # beyond all values
# A label map counts as interpolated if at least _MONOTONE_FRACTION of its steps have a value in between. A map with
# fewer than _FEWEST_STEPS steps never does.
_FEWEST_STEPS = 50
_MONOTONE_FRACTION = 0.25


_COLOR_KEYS = "'mask_colors' of a class or 'colors' of 'ignore'"


class RawLabels:
    """Reader of the labels of a dataset as published.

    Args:
        spec: a specification with ``preparation``.
    """

    def __init__(self, spec: DatasetSpecification) -> None:
        form = spec.required_preparation.labels
        self._map = LabelMap.from_values(spec.raw_values, spec.raw_ignored)
        self._palette = _palette(spec)
        self._pure = form == "pure_colors"
        self._read: Callable[[bytes, str], np.ndarray] = {
            "colors": self._from_colors,
            "pure_colors": self._from_colors,
            "values": self._from_values,
            "threshold": self._from_threshold,
        }[form]
        self.num_classes = len(spec.classes)
        renamed = spec.ignore.raw_values is not None or any(entry.raw_value is not None for entry in spec.classes)
        self._value_keys = "'raw_value' of a class or 'raw_values' of 'ignore'" if renamed else "a class or to 'ignore'"
        written = [values[0] for values in spec.values]
        ignored = [value for value in spec.ignore.values if 0 <= value <= MAX_VALUE]
        self._written = np.array([*written, *ignored[:1]], np.uint16)
        if self._written.max() <= 255:
            self._written = self._written.astype(np.uint8)

    def read(self, content: bytes, source: str) -> np.ndarray:
        """Decode a label file.

        Args:
            content: bytes of the file.
            source: the file name in error messages.

        Returns:
            (H, W) int32 class ids; ``num_classes`` for ignored pixels.

        Raises:
            InputError: the file cannot be read or is of another kind, or has a colour or value that is not in the
                specification. The message gives the value, its number of pixels, and whether the mask looks
                interpolated.
        """
        ids = self._read(content, source)
        ids[ids == self._map.ignore_label] = self.num_classes
        return ids

    def written(self, ids: np.ndarray) -> np.ndarray:
        """The (H, W) label image to write for the ids from :meth:`read`: uint8, or uint16 if values exceed 255."""
        return self._written[ids]

    def _from_colors(self, content: bytes, source: str) -> np.ndarray:
        rgb = _rgb(content, source)
        if self._pure:
            rgb = np.where(rgb >= _THRESHOLD, 255, 0)
        codes = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        known, known_ids = self._palette
        position = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        ids = np.where(known[position] == codes, known_ids[position], OUTSIDE)
        _refuse_outside(ids, codes, rgb, source, "colour", _COLOR_KEYS)
        return ids

    def _from_values(self, content: bytes, source: str) -> np.ndarray:
        raw = read_values(io.BytesIO(content), source)
        ids = self._map.lookup(raw)
        _refuse_outside(ids, raw, raw[..., None], source, "value", self._value_keys)
        return ids

    def _from_threshold(self, content: bytes, source: str) -> np.ndarray:
        return self._map.lookup(read_values(io.BytesIO(content), source) >= _THRESHOLD)


def looks_interpolated(values: np.ndarray) -> bool:
    """Whether an (H, W) map of known class values may have been resized with interpolation.

    At a border between two classes whose values differ by more than 1, interpolation inserts values in between. In an
    original map, a pixel whose value lies strictly between those of its two neighbours is rare, except where a class is
    a thin line between two others, such as a kerb. So this is a reason to look at the map, not an error.
    """
    steps = between = 0
    for turned in (values.astype(np.int32), values.astype(np.int32).T):
        change = np.diff(turned, axis=1)
        same_direction = (change[:, 1:] * change[:, :-1]) > 0
        steps += int((np.abs(turned[:, 2:] - turned[:, :-2]) > 1).sum())
        between += int(same_direction.sum())
    return steps >= _FEWEST_STEPS and between / steps >= _MONOTONE_FRACTION


def interpolation_note(names: Sequence[str]) -> str:
    """One line about labels for which :func:`looks_interpolated` is true."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        f"{names[0]}{more}: between classes these labels have the values of other classes; right if such a class is a "
        "thin line, otherwise they were resized with interpolation: use the original masks"
    )


_INTERPOLATED = (
    "This mask looks as if it had been resized with interpolation, or stored as JPEG: between classes it has mixtures "
    "of their values"
)


def _palette(spec: DatasetSpecification) -> tuple[np.ndarray, np.ndarray]:
    """(N,) sorted colour codes (red << 16 | green << 8 | blue), and their (N,) class ids or the ignore label."""
    ignore_label = no_class_id(len(spec.classes))
    pairs = [(color, index) for index, colors in enumerate(spec.mask_colors) for color in colors]
    pairs += [(color, ignore_label) for color in spec.ignore.colors]
    codes = np.array([red << 16 | green << 8 | blue for (red, green, blue), _ in pairs], np.int32)
    ids = np.array([index for _, index in pairs], np.int32)
    order = np.argsort(codes)
    return codes[order], ids[order]


def _rgb(content: bytes, source: str) -> np.ndarray:
    """Decode a colour-coded label to (H, W, 3) int32.

    Raises:
        InputError: the file cannot be read, or has one channel and no palette.
    """
    try:
        with open_image(io.BytesIO(content), source, "label image") as image:
            refuse_turned(orientation(image), source, "image")
            if image.mode in LABEL_MODES and image.mode != "P":
                raise InputError(
                    f"{source}: label image of mode {image.mode}, expected colours; if it holds class values, set "
                    "preparation.labels to 'values'"
                )
            if not is_deep(image):
                return np.asarray(image.convert("RGB"), np.int32)
            if image.format != "TIFF":
                image.load()  # finds damage
    except UnknownTiffError:
        pass
    channels, _ = stored_channels(io.BytesIO(content), source)
    if channels.shape[2] < 3:
        raise InputError(
            f"{source}: label image of fewer than three channels, expected colours; if it holds class values, set "
            "preparation.labels to 'values'"
        )
    return eight_bit_colors(channels, source)


def _refuse_outside(ids: np.ndarray, raw: np.ndarray, channels: np.ndarray, source: str, what: str, where: str) -> None:
    """Raise an InputError if a pixel is outside the specification.

    Args:
        ids: (H, W) class ids; OUTSIDE for such pixels.
        raw: (H, W) values or colour codes.
        channels: (H, W, 1) values or (H, W, 3) colours.
        source: the file name in the message.
        what: "value" or "colour".
        where: keys of the dataset file to which it may be added.
    """
    outside = ids == OUTSIDE
    if not outside.any():
        return
    _, first, counts = np.unique(raw[outside], return_index=True, return_counts=True)
    found = channels[outside][first].tolist()
    order = np.argsort(-counts)[:3]
    shown = ", ".join(f"{found[i] if len(found[i]) > 1 else found[i][0]} ({counts[i]} pixels)" for i in order)
    shown += f" and {len(found) - 3} more" if len(found) > 3 else ""
    if len(found) >= _FEWEST_MIXTURES and _fraction_between(channels, outside) >= _BORDER_FRACTION:
        raise InputError(
            f"{source}: {outside.sum()} pixels have a {what} that belongs to no class. {_INTERPOLATED}: {shown}; use "
            "the original mask, or resize it with nearest-neighbour sampling; if they are no mixtures, add each "
            f"{what} to {where} in the dataset file"
        )
    raise InputError(
        f"{source}: {what} outside the dataset's specification: {shown}; correct the mask, or add the {what} "
        f"to {where} in the dataset file"
    )


def _fraction_between(channels: np.ndarray, outside: np.ndarray) -> float:
    """The fraction of unknown pixels that may be mixtures of different known values (H, W, C) nearby."""
    window = np.ones((_BORDER, _BORDER), np.uint8)
    between, differ = outside.copy(), np.zeros_like(outside)
    for channel in np.moveaxis(channels.astype(np.float32), -1, 0):
        highest = cv2.dilate(np.where(outside, -_NONE, channel), window)
        lowest = cv2.erode(np.where(outside, _NONE, channel), window)
        margin = _OVERSHOOT * np.maximum(highest - lowest, 0)
        between &= (channel >= lowest - margin) & (channel <= highest + margin)
        differ |= highest > lowest
    return float((between & differ)[outside].mean())
