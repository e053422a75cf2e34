"""STAC items: which raster is chosen, and what GDAL calls it."""

from __future__ import annotations

import json

import pytest

from sgovss.errors import InputError
from sgovss.rasters.stac import is_item, rasters_of


@pytest.fixture
def item(tmp_path):
    """A function that writes an item with assets, name -> (href, type), and returns its path."""

    def write(assets, /, **more) -> str:
        described = {name: {"href": href, "type": kind} for name, (href, kind) in assets.items()}
        content = {"stac_version": "1.0.0", "id": "an id", "assets": described} | more
        path = tmp_path / "item.json"
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.json", True), ("a.GEOJSON", True), ("https://host/a.json?token=x.tif", True),
        ("a.tif", False), ("json", False), ("https://host/a.tif?b=c.json", False),
    ],
)  # fmt: skip
def test_an_item_is_known_by_its_suffix(name, expected):
    assert is_item(name) is expected


@pytest.mark.parametrize(
    ("href", "expected"),
    [
        ("s3://bucket/a/b.tif", "/vsis3/bucket/a/b.tif"),
        ("gs://bucket/b.tif", "/vsigs/bucket/b.tif"),
        ("az://container/b.tif", "/vsiaz/container/b.tif"),
        ("https://host/a/b.tif", "https://host/a/b.tif"),
        ("/data/b.tif", "/data/b.tif"),
        ("/vsis3/bucket/b.tif", "/vsis3/bucket/b.tif"),
    ],
)
def test_an_address_becomes_a_name_for_gdal(item, href, expected):
    assert rasters_of(item({"data": (href, "image/tiff")})) == ("an id", [expected])


def test_a_relative_address_is_that_beside_the_item(item, tmp_path):
    assert rasters_of(item({"data": ("b/c.tif", "image/tiff")})) == ("an id", [str(tmp_path / "b" / "c.tif")])


def test_an_item_of_a_server_may_be_large_and_its_addresses_are_relative_to_it(server):
    content = {"stac_version": "1.0.0", "assets": {"data": {"href": "../b/c.tif"}}, "text": "x" * 2_000_000}
    url = server.put("items/a/item.json", json.dumps(content).encode())
    assert rasters_of(url, ("data",)) == ("item", [f"{server.url}/items/b/c.tif"])


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        ({"thumbnail": "image/png", "data": "image/tiff; application=geotiff"}, "data"),
        ({"visual": "image/png", "data": "image/jp2"}, "data"),
        ({"red": "image/tiff", "visual": "image/tiff"}, "visual"),
        ({"visual": "image/png", "metadata": "text/xml"}, "visual"),
    ],
)
def test_the_only_raster_is_chosen_or_the_visual_one(item, kinds, chosen):
    path = item({name: (f"/{name}", kind) for name, kind in kinds.items()})
    assert rasters_of(path)[1] == [f"/{chosen}"]


def test_wanted_assets_come_in_their_order(item):
    path = item({name: (f"/{name}.tif", "image/tiff") for name in ("red", "green", "blue")}, id=None)
    assert rasters_of(path, ("blue", "red")) == ("item", ["/blue.tif", "/red.tif"])
    with pytest.raises(InputError, match="has no asset 'nir'; it has red, green, blue"):
        rasters_of(path, ("red", "nir"))


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        (
            {"red": "image/tiff", "green": "image/tiff", "text": "text/xml"},
            "2 rasters; choose by --asset among red, green$",
        ),
        ({"text": "text/xml", "page": "text/html"}, "0 rasters; choose by --asset among text, page$"),
    ],
)
def test_a_choice_is_asked_for(item, kinds, message):
    with pytest.raises(InputError, match=message):
        rasters_of(item({name: (f"/{name}", kind) for name, kind in kinds.items()}))


@pytest.mark.parametrize(
    "change",
    [
        {"stac_version": None}, {"assets": None}, {"assets": {}}, {"assets": ["data"]}, {"assets": "data"},
        {"assets": {"data": "a.tif"}}, {"assets": {"data": {"href": "a.tif", "type": "image/tiff"}, "more": None}},
    ],
)  # fmt: skip
def test_other_json_is_no_item(item, change):
    path = item({"data": ("a.tif", "image/tiff")}, **change)
    with pytest.raises(InputError, match="no STAC item with assets; give the URL of an item, not of a catalogue"):
        rasters_of(path)


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read as JSON"), ("[]", "no STAC item; give the file")])
def test_other_files_are_told(tmp_path, text, message):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match=message):
        rasters_of(str(tmp_path / "other.json"))
    with pytest.raises(InputError, match="cannot be read as JSON"):
        rasters_of(str(tmp_path / "none.json"))
