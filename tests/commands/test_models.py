"""``sgovss models``: what it lists, with and without models in the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sgovss.commands import models
from sgovss.config import load_config
from sgovss.hub import local_path
from tests.fixtures.fake_hub import FakeHub

ITEM = {"properties": {"mlm:architecture": "SGOVSS with tiny", "license": "mit", "gsd": 0.5}}


def listed(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    assert models.main(["--json"]) == 0
    return json.loads(capsys.readouterr().out)["models"]


def test_the_embedded_model_and_published_weights_are_listed(
    fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listed(capsys)
    (embedded,) = (each for each in found if each["where"] == "embedded")
    assert embedded["weights"] == ["embedded"]
    assert embedded["ground_sample_distance"] == load_config("sgovss_tiny.yaml").INPUT.GROUND_SAMPLE_DISTANCE
    assert not [each for each in found if each["where"] == "cache"]
    published = {each["name"] for each in found if each["where"] == "published"}
    assert published == {"RemoteCLIP", "GeoRSCLIP", "SkyCLIP", "open_clip"}
    assert "RemoteCLIP-RN50.pt" not in {name for each in found for name in each["weights"]}  # it has no dense map
    assert fake_hub.requests == []  # nothing is asked or fetched


def test_the_cache_is_listed_as_the_files_in_it_say(fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    whole = {"model.safetensors": b"w" * 1000, "config.yaml": b"SEED: 1\n", "mlm.json": json.dumps(ITEM).encode()}
    fake_hub.add("me/whole", whole)
    fake_hub.add("me/bare", {**whole, "mlm.json": b"damaged"})
    for name in ("me/whole", "me/bare"):
        local_path(name)
    import huggingface_hub

    fake_hub.add("chendelong/RemoteCLIP", {"RemoteCLIP-ViT-B-32.pt": b"w" * 2_000_000, "unknown.pt": b"w"})
    huggingface_hub.snapshot_download("chendelong/RemoteCLIP", endpoint=fake_hub.address)
    found = {each["name"]: each for each in listed(capsys) if each["where"] == "cache"}
    assert found.keys() == {"me/whole", "me/bare", "chendelong/RemoteCLIP/RemoteCLIP-ViT-B-32.pt"}
    facts = ("architecture", "licence", "ground_sample_distance", "verified")
    assert [found["me/whole"][key] for key in facts] == ["SGOVSS with tiny", "mit", 0.5, []]
    assert [found["me/bare"][key] for key in facts] == ["not stated", "not stated", None, []]
    remote = found["chendelong/RemoteCLIP/RemoteCLIP-ViT-B-32.pt"]
    assert (remote["architecture"], remote["megabytes"]) == ("ViT-B-32", 2.0)
    assert Path(remote["weights"][0]).is_file()


@pytest.mark.parametrize("properties", [{"gsd": "half a metre"}, {"gsd": [0.5]}, ["gsd"], 3, None])
def test_a_strange_item_in_the_cache_states_nothing(
    fake_hub: FakeHub, capsys: pytest.CaptureFixture[str], properties: object
) -> None:
    item = json.dumps({"properties": properties}).encode()
    fake_hub.add("me/odd", {"model.safetensors": b"w", "config.yaml": b"SEED: 1\n", "mlm.json": item})
    local_path("me/odd")
    assert models.main([]) == 0 and "me/odd" in capsys.readouterr().out
    odd = next(each for each in listed(capsys) if each["where"] == "cache")
    assert (odd["ground_sample_distance"], odd["architecture"]) == (None, "not stated")


def test_the_tables_explain_what_was_verified(fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert models.main([]) == 0
    printed = capsys.readouterr().out
    for text in ("In the cache\n\nnone", "7.8 MB", "not stated", "dense map: shape of the dense map (random weights)"):
        assert text in printed
    assert max(map(len, printed.splitlines())) <= 170
