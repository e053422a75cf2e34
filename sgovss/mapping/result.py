"""The result of :func:`sgovss.segment`."""

from __future__ import annotations

import base64
import tempfile
import warnings
from html import escape
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgovss.errors import InputError
from sgovss.inference.report import class_table, report_entry
from sgovss.inference.segmentation import Segmentation
from sgovss.mapping.folder import OwnedFolder
from sgovss.mapping.libraries import library
from sgovss.painting import paint

if TYPE_CHECKING:
    import geopandas
    import xarray
    from matplotlib.axes import Axes


class MappedImage(Segmentation):
    """A segmented photograph or raster with its products on disk. A notebook shows its picture and its classes.

    Args:
        found: the segmentation; its ``files`` are written.
        owned: the temporary folder of the files; None if the user has chosen their folder.
    """

    def __init__(self, found: Segmentation, owned: OwnedFolder | None = None) -> None:
        vars(self).update(vars(found))
        self._owned, self._closed = owned, False

    @property
    def classes(self) -> list[str]:
        """Names of the classes, by id; with rejection the last is "other"."""
        return self.legend.names

    @property
    def folder(self) -> Path:
        """Folder of :attr:`files`."""
        return self.files["labels"].parent

    @property
    def labels(self) -> np.ndarray:
        """See :attr:`Segmentation.labels`."""
        self._expect_open()
        return super().labels

    @property
    def scores(self) -> np.ndarray | None:
        """See :attr:`Segmentation.scores`. None for rasters without ``confidence`` and for photographs of a folder."""
        self._expect_open()
        return super().scores

    def picture(self) -> tuple[np.ndarray, np.ndarray]:
        """See :meth:`Segmentation.picture`."""
        self._expect_open()
        return super().picture()

    def save(self, folder: str | Path, name: str = "segmentation") -> dict[str, Path]:
        """See :meth:`Segmentation.save`."""
        self._expect_open()
        return super().save(folder, name)

    def close(self) -> None:
        """Give up the products in a temporary folder. It is removed with the last result in it.

        A folder that the user has chosen is not removed.
        """
        if self._owned is not None:
            self._owned, self._closed = None, True

    def __enter__(self) -> MappedImage:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to_geodataframe(self, simplify: float = 0.0) -> geopandas.GeoDataFrame:
        """Return the regions as polygons, with the columns ``id``, ``class``, ``class_id``, ``area_m2``, ``score`` and
        ``source``.

        Args:
            simplify: tolerance in metres by which the borders are simplified; neighbours keep their common borders.

        Returns:
            in the CRS of the image; without georeference in pixels and without CRS.

        Raises:
            InputError: a library is missing, the tolerance is wrong, or the products are removed.
        """
        geopandas = library("geopandas", "to_geodataframe")
        library("rasterio", "to_geodataframe", "geo")
        from sgovss.rasters.gdal import gdal_environment
        from sgovss.rasters.vectors import write_polygons

        self._expect_open()
        with gdal_environment(), tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rasterio, that a photograph is not georeferenced
            file, labels = Path(folder) / "polygons.gpkg", self.files["labels"]
            write_polygons(file, labels, self.legend, _title(self.source), _tolerance(labels, simplify))
            frame = geopandas.read_file(file)
        return frame if self.georeference else frame.set_crs(None, allow_override=True)

    def to_xarray(self) -> xarray.DataArray:
        """Return the class ids, with the dimensions ``y`` and ``x``, coordinates, CRS and names of the classes.

        Values of a raster in a chosen folder are read when they are needed; those in a temporary folder at once.

        Raises:
            InputError: a library is missing, or the products are removed.
        """
        rioxarray = library("rioxarray", "to_xarray")
        self._expect_open()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rasterio, that a photograph is not georeferenced
            array = rioxarray.open_rasterio(self.files["labels"]).sel(band=1, drop=True)
        array.name = "class_id"
        array.attrs = {key: value for key, value in array.attrs.items() if key in ("_FillValue", "AREA_OR_POINT")}
        array.attrs |= {"classes": self.classes, "flag_values": list(range(len(self.classes)))}
        array.attrs["flag_meanings"] = " ".join(name.replace(" ", "_") for name in self.classes)
        return array if self._owned is None else array.load()

    def plot(self, alpha: float = 0.5, ax: Axes | None = None) -> Axes:
        """Draw the classes over the image, with a legend, by matplotlib.

        Args:
            alpha: 0 shows the image with the borders of the classes, 1 the classes only.
            ax: where; by default a new figure. It gets the coordinates of the image, if they are known and north is up.
        """
        image, labels = self.picture()
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots(layout="constrained")[1]
        from matplotlib.patches import Patch

        colors = self.legend.colors()
        ids = np.minimum(labels, len(colors)).astype(np.uint16)
        ax.imshow(paint(image, ids, colors, alpha), extent=self._extent())
        shares = sorted(enumerate(self.shares.items()), key=lambda item: -item[1][1])
        handles = [
            Patch(facecolor=colors[index] / 255, label=f"{name} {100 * share:.1f} %")
            for index, (name, share) in shares
            if share
        ]
        ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        return ax

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self._repr_png_()).decode()
        entry = report_entry(str(self.source or ""), self, self.files["overlay"])
        where = "" if self._owned else f"<p>{escape(str(self.folder))}</p>"
        return f'<img alt="classes" src="data:image/png;base64,{picture}">{class_table(entry.classes)}{where}'

    def _extent(self) -> tuple[float, float, float, float] | None:
        """Left, right, bottom and top of the image in its CRS; None if they are not known or north is not up."""
        if self.georeference is None or any(self.georeference.transform[i] for i in (1, 3)):
            return None
        import rasterio

        with rasterio.open(self.files["labels"]) as raster:
            return raster.bounds.left, raster.bounds.right, raster.bounds.bottom, raster.bounds.top

    def _expect_open(self) -> None:
        if self._closed:
            raise InputError(
                "the result is closed and its products are removed; give segment(..., output=folder) to keep them"
            )


def _title(source: Path | str | None) -> str:
    return "" if source is None else Path(source).name


def _tolerance(labels: Path, simplify: float) -> Any:
    """Return the tolerance in pixels of a label raster; None if nothing is simplified."""
    import rasterio

    from sgovss.rasters.areas import ground_sample_distances
    from sgovss.rasters.coverage import Tolerance

    if not isinstance(simplify, Real) or not 0 <= simplify < float("inf"):
        raise InputError(f"to_geodataframe: simplify={simplify!r} is not a distance; give metres, such as 0.5")
    if not simplify:
        return None
    with rasterio.open(labels) as raster:
        gsd = ground_sample_distances(raster.crs, raster.transform, raster.height, raster.width)
    if gsd is None:
        raise InputError("to_geodataframe: the image is not georeferenced, so metres are not known; leave out simplify")
    return Tolerance(float(simplify) / gsd[1], gsd[0] / gsd[1])
