"""The report of a run: one HTML page with overlays, shares and areas of the classes, settings, time and memory."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from sgovss.files import atomic_path
from sgovss.inference.segmentation import Segmentation

_WIDEST = 1200  # pixels of a picture on the page
_PICTURES = 200  # pictures on the page; thousands would be too large for a browser
_HECTARE = 10_000.0  # square metres

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border: 1px solid #ccc; }
table { border-collapse: collapse; margin: 1rem 2rem 1rem 0; vertical-align: top; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid #ddd; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #555; }
.swatch { vertical-align: -.15em; margin-right: .5em; }
.bar { display: inline-block; height: .7em; background: #888; }
.tables { display: flex; flex-wrap: wrap; align-items: flex-start; }
.error { color: #a00; }
"""


@dataclass(frozen=True)
class ReportRow:
    """One class of an image: its share of the segmented pixels in 0..1, and its area if the image is georeferenced."""

    name: str
    color: tuple[int, int, int]
    share: float
    square_metres: float | None = None


@dataclass(frozen=True)
class ReportEntry:
    """One image of a run, as a record that can be passed between processes as JSON.

    Attributes:
        title: path of the image.
        overlay: path of the picture to show.
        classes: in the order of the legend.
        facts: further facts, such as size and time.
    """

    title: str
    overlay: Path
    classes: Sequence[ReportRow]
    facts: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The record as JSON, for :meth:`from_json`."""
        return {**asdict(self), "overlay": str(self.overlay)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ReportEntry:
        """The record that :meth:`as_json` has written."""
        rows = [ReportRow(**{**row, "color": tuple(row["color"])}) for row in content["classes"]]
        return cls(content["title"], Path(content["overlay"]), rows, content["facts"])


def report_entry(path: str | Path, segmentation: Segmentation, overlay: Path) -> ReportEntry:
    """Make the record of a segmented image.

    Args:
        path: path of the image.
        segmentation: result of the image.
        overlay: path of the overlay that was written.
    """
    legend, areas = segmentation.legend, segmentation.areas or {}
    rows = [
        ReportRow(name, (red, green, blue), segmentation.shares[name], areas.get(name))
        for name, (red, green, blue) in zip(legend.names, legend.colors().tolist(), strict=True)
    ]
    return ReportEntry(str(path), overlay, rows, segmentation.facts)


def write_report(
    path: Path, entries: Sequence[ReportEntry], settings: Mapping[str, str], problems: Sequence[str] = ()
) -> None:
    """Write the page. The pictures are embedded in it, so that it can be opened offline.

    Args:
        path: path of the page.
        entries: the segmented images.
        settings: settings of the run, by name.
        problems: one line for each image that failed.
    """
    heading = f"{len(entries)} image{'s' * (len(entries) != 1)} segmented"
    parts = [f"<p class=error>{escape(problem)}</p>" for problem in problems]
    parts += [_entry(entry, pictured=number < _PICTURES) for number, entry in enumerate(entries)]
    page = f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>sgovss: {heading}</title><style>{STYLE}</style></head>
<body><h1>{heading}</h1>
{facts_table(settings)}
{"".join(parts)}
</body></html>
"""
    with atomic_path(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _entry(entry: ReportEntry, pictured: bool) -> str:
    rows = sorted(entry.classes, key=lambda row: -row.share)
    picture = f"<p>Picture: {escape(str(entry.overlay))}</p>"
    if pictured:
        picture = f'<img alt="overlay of {escape(entry.title, quote=True)}" src="{inline_picture(entry.overlay)}">'
    return f"""<h2>{escape(entry.title)}</h2>
{picture}
<div class=tables>{class_table(rows)}{facts_table(entry.facts)}</div>
"""


def class_table(rows: Sequence[ReportRow]) -> str:
    """Return an HTML table of classes, their shares and, if they are known, their areas."""
    with_area = any(row.square_metres is not None for row in rows)
    head = "<th class=number>m²</th><th class=number>ha</th>" if with_area else ""
    body = "".join(_class(row, with_area) for row in rows)
    return f"<table><tr><th>class</th><th class=number>share</th><th></th>{head}</tr>{body}</table>"


def _class(row: ReportRow, with_area: bool) -> str:
    color = "#{:02x}{:02x}{:02x}".format(*row.color)
    area = ""
    if with_area:
        square = row.square_metres or 0.0
        area = f"<td class=number>{square:,.0f}</td><td class=number>{square / _HECTARE:,.2f}</td>"
    return (
        f'<tr><td><span class=swatch style="background:{color}"></span>{escape(row.name)}</td>'
        f"<td class=number>{100 * row.share:.2f} %</td>"
        f'<td><span class=bar style="width:{round(120 * row.share)}px;background:{color}"></span></td>{area}</tr>'
    )


def facts_table(facts: Mapping[str, str]) -> str:
    """Return an HTML table of facts by name; empty without any."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts.items())
    return f"<table>{rows}</table>" if rows else ""


def inline_picture(picture: Path) -> str:
    """Return a picture, shrunk if it is wide, as an address that holds it."""
    with Image.open(picture) as image:
        image = image.convert("RGB")
        image.thumbnail((_WIDEST, _WIDEST))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
