"""QGIS layer styles of label rasters."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from sgovss.files import atomic_path
from sgovss.vocabulary import Vocabulary


def write_style(path: Path, legend: Vocabulary) -> None:
    """Write a ``.qml`` file that gives each class id its colour and name.

    QGIS reads it with a raster of the same name.
    """
    qgis = ElementTree.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = ElementTree.SubElement(qgis, "pipe")
    renderer = ElementTree.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for index, (name, color) in enumerate(zip(legend.names, legend.colors().tolist(), strict=True)):
        entry = {"value": str(index), "label": name, "color": "#{:02x}{:02x}{:02x}".format(*color), "alpha": "255"}
        ElementTree.SubElement(palette, "paletteEntry", entry)
    ElementTree.indent(qgis)
    text = ElementTree.tostring(qgis, encoding="unicode")
    with atomic_path(path) as partial:
        partial.write_text(f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}\n", encoding="utf-8")
