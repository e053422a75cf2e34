"""Products of Sentinel-2 as they are downloaded: one scene of the bands of 10 m, by whatever name the user gives."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from sgovss.errors import InputError
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.inputs import InputOptions, find_inputs, is_scene
from sgovss.rasters.source import RasterSource

NAME = "S2A_MSIL{level}_20260101T100000_N0500_R022_{tile}_20260101T120000"
CODES = {"2A": "PSD/User_Product_Level-2A.xsd", "1C": "PSD/User_Product_Level-1C.xsd"}
FILES = {
    "2A": {10: ("B02", "B03", "B04", "B08", "TCI", "AOT"), 20: ("B05", "B11", "SCL"), 60: ("B01",)},
    "1C": {10: ("B02", "B03", "B04", "B08", "TCI"), 20: ("B05", "B11"), 60: ("B01",)},
}
PRODUCT = """<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/{schema}"><n1:General_Info>
<Product_Info><PRODUCT_URI>{uri}</PRODUCT_URI><PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
<PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
<Query_Options completeSingleTile="true"><PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT></Query_Options>
<Product_Organisation><Granule_List><Granule granuleIdentifier="{granule}" imageFormat="JPEG2000">{files}</Granule>
</Granule_List></Product_Organisation></Product_Info></n1:General_Info></n1:Level-{level}_User_Product>"""
GRANULE = """<n1:Level-{level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_Tile_Metadata.xsd">
<n1:Geometric_Info><Tile_Geocoding metadataLevel="Brief"><HORIZONTAL_CS_NAME>WGS84 / UTM zone 32N</HORIZONTAL_CS_NAME>
<HORIZONTAL_CS_CODE>EPSG:32632</HORIZONTAL_CS_CODE>{sizes}</Tile_Geocoding>
</n1:Geometric_Info></n1:Level-{level}_Tile_ID>"""
SIZE = """<Size resolution="{res}"><NROWS>{rows}</NROWS><NCOLS>{columns}</NCOLS></Size><Geoposition resolution="{res}">
<ULX>{left}</ULX><ULY>5300040</ULY><XDIM>{res}</XDIM><YDIM>-{res}</YDIM></Geoposition>"""
VALUES = {"B04": 900, "B03": 700, "B02": 500, "B08": 3000}


def write_band(file: Path, band: str, res: int, left: float) -> None:
    bands, dtype = (3 if band == "TCI" else 1), "uint8" if band in ("TCI", "SCL") else "uint16"
    height, width = 1200 // res, 1800 // res
    slope = (7 * np.arange(height)[:, None] + np.arange(width)) % 60 + np.zeros((bands, 1, 1), int)
    pixels = (np.minimum(VALUES.get(band, 100), np.iinfo(dtype).max - 60) + slope).astype(dtype)
    file.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        file, "w", driver="JP2OpenJPEG", height=height, width=width, count=bands, dtype=dtype, crs="EPSG:32632",
        transform=rasterio.Affine(res, 0, left, 0, -res, 5_300_040), QUALITY="100", REVERSIBLE="YES",
    ) as target:  # fmt: skip
        target.write(pixels)


@pytest.fixture
def write_product(tmp_path):
    """A function that writes a made-up product in the form of those since 2016, and returns its folder."""

    def write(level: str = "2A", tile: str = "T32TQM", left: float = 600_000, suffix: str = ".SAFE") -> Path:
        product = tmp_path / "products" / (NAME.format(level=level, tile=tile) + suffix)
        granule = product / "GRANULE" / f"L{level}_{tile}_A000001_20260101T100000"
        files = []
        for res, bands in FILES[level].items():
            for band in bands:
                inside = granule / "IMG_DATA" / (f"R{res}m" if level == "2A" else "")
                file = inside / f"{tile}_20260101T100000_{band}{f'_{res}m' if level == '2A' else ''}.jp2"
                write_band(file, band, res, left)
                files.append(f"<IMAGE_FILE>{file.relative_to(product).with_suffix('')}</IMAGE_FILE>")
        sizes = "".join(SIZE.format(res=r, rows=1200 // r, columns=1800 // r, left=left) for r in (10, 20, 60))
        (granule / "MTD_TL.xml").write_text(GRANULE.format(level=level, sizes=sizes))
        uri = product.name.removesuffix(".SAFE") + ".SAFE"
        content = PRODUCT.format(level=level, schema=CODES[level], granule=granule.name, files="".join(files), uri=uri)
        (product / f"MTD_MSIL{level}.xml").write_text(content)
        return product

    return write


def means(name: str, bands: tuple[int | str, ...] | None = None) -> list[float]:
    with gdal_environment(), RasterSource(name, bands, ranges=[(0, 5100)]) as source:
        assert (source.width, source.height, source.remarks) == (180, 120, [])
        pixels, _ = source.read(rasterio.windows.Window(0, 0, 180, 120), (120, 180))
    return [20 * value for value in pixels.mean(axis=(0, 1))]


@pytest.mark.parametrize("level", ["2A", "1C"])
@pytest.mark.parametrize("suffix", [".SAFE", ""])
def test_a_product_is_one_scene_of_its_bands_of_10_m(write_product, tmp_path, monkeypatch, level, suffix):
    product = write_product(level, suffix=suffix)
    description = product / f"MTD_MSIL{level}.xml"
    monkeypatch.chdir(product)
    title = NAME.format(level=level, tile="T32TQM")
    for name in (product, description, ".", description.name):
        for options in (InputOptions(), InputOptions(stack=True)):
            (scene, found) = next(iter(find_inputs([str(name)], tmp_path / "out", options).items()))
            assert is_scene(scene)
            assert means(scene) == pytest.approx([929.5, 729.5, 529.5], abs=10)
            assert options.stack or str(found) == title
    assert means(scene, ("B8", "B4", "B3")) == pytest.approx([3029.5, 929.5, 729.5], abs=10)


def test_products_in_a_folder_stand_beside_other_images(write_product, tmp_path, write_raster):
    first = write_product()
    write_product("1C", "T32TQN")
    write_raster(np.full((3, 20, 20), 7, "uint8"), str(first.parent / "other.tif"))
    found = find_inputs([str(first.parent)], tmp_path / "out")
    titles = sorted(map(str, found.values()))
    assert titles == [NAME.format(level="1C", tile="T32TQN"), NAME.format(level="2A", tile="T32TQM"), "other"]
    file = next(first.rglob("*_B04_10m.jp2"))
    assert [*find_inputs([str(file)], tmp_path / "out")] == [str(file)]


def test_a_packed_product_is_read_as_it_is(write_product, tmp_path):
    product = write_product()
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", product.parent, product.name)
    name = f"/vsizip/{packed}/{product.name}/MTD_MSIL2A.xml"
    ((scene, title),) = find_inputs([name], tmp_path / "out").items()
    assert str(title) == product.stem and means(scene) == pytest.approx([929.5, 729.5, 529.5], abs=10)


def test_two_tiles_become_one_scene(write_product, tmp_path):
    write_product()
    folder = write_product(tile="T32TQN", left=601_800).parent
    (scene,) = find_inputs([str(folder)], tmp_path / "out", InputOptions(mosaic=True))
    with rasterio.open(scene) as joined:
        assert (joined.width, joined.height) == (360, 120)
        assert joined.read(1).mean() == pytest.approx(929.5)


def test_the_map_has_the_place_of_the_product(demo, write_product):
    product = write_product()
    status, out, errors = demo(product, "--gsd", "10")
    assert status == 0, errors
    with rasterio.open(out / f"{product.stem}_labels.tif") as labels:
        assert (labels.crs, labels.width) == ("EPSG:32632", 180)
        assert labels.transform == rasterio.Affine(10, 0, 600_000, 0, -10, 5_300_040)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("<n1:Level-2A_User_Product/>", "give its files of red, green and blue with --stack"),
        ("", "give its files of red, green and blue with --stack"),
        ("<GDAL_WMS/>", "give its files of red, green and blue with --stack"),
    ],
)
def test_a_damaged_description_is_one_line(write_product, tmp_path, content, told):
    product = write_product()
    (product / "MTD_MSIL2A.xml").write_text(content)
    with pytest.raises(InputError, match=told) as caught:
        find_inputs([str(product)], tmp_path / "out")
    assert "\n" not in str(caught.value)
