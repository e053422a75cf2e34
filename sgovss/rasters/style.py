"""Colours and names of the classes of a label raster, as files beside it."""

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


_FIELDS = (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
"""Name, type and usage of the fields of an attribute table, as GDAL numbers them."""


def write_attributes(path: Path, legend: Vocabulary) -> None:
    """Write the raster attribute table: id, name and colour of each class.

    It is an ``.aux.xml`` file, which GDAL reads with the raster of the same name. rasterio cannot write such tables.
    """
    dataset = ElementTree.Element("PAMDataset")
    band = ElementTree.SubElement(dataset, "PAMRasterBand", band="1")
    categories = ElementTree.SubElement(band, "CategoryNames")
    table = ElementTree.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (name, kind, usage) in enumerate(_FIELDS):
        field = ElementTree.SubElement(table, "FieldDefn", index=str(index))
        for tag, value in (("Name", name), ("Type", kind), ("Usage", usage)):
            ElementTree.SubElement(field, tag).text = str(value)
    for index, (name, color) in enumerate(zip(legend.names, legend.colors().tolist(), strict=True)):
        ElementTree.SubElement(categories, "Category").text = name
        row = ElementTree.SubElement(table, "Row", index=str(index))
        for value in (index, name, *color):
            ElementTree.SubElement(row, "F").text = str(value)
    ElementTree.indent(dataset)
    with atomic_path(path) as partial:
        partial.write_text(ElementTree.tostring(dataset, encoding="unicode") + "\n", encoding="utf-8")
