"""Entries of published weights files, found by their names."""

from __future__ import annotations

from pathlib import Path

import open_clip
import pytest

from sgovss.modeling.known_weights import find_known, known_families, stated_activation, weights_metadata


@pytest.mark.parametrize(
    ("path", "model", "activation"),
    [
        ("RemoteCLIP-ViT-L-14.pt", "ViT-L-14", "quick_gelu"),
        ("models--chendelong--RemoteCLIP/snapshots/bf1d8a3c/RemoteCLIP-RN50.pt", "RN50", "quick_gelu"),
        ("GeoRSCLIP/ckpt/RS5M_ViT-B-32.pt", "ViT-B-32", "quick_gelu"),
        ("RS5M_ViT-L-14-336.pt", "ViT-L-14-336", "quick_gelu"),
        ("RS5M_ViT-H-14.pt", "ViT-H-14", "gelu"),
        ("SkyCLIP_ViT_L14_top30pct_filtered_by_CLIP_laion_RS/epoch_20.pt", "ViT-L-14", "quick_gelu"),
        ("SkyCLIP_ViT_B32_top50pct/epoch_20.pt", "ViT-B-32", "gelu"),
        ("SkyCLIP_ViT_B32_top50pct_epoch_20.pt", "ViT-B-32", "gelu"),
        ("CLIP_ViT_L14_LAION_RS/epoch_20.pt", "ViT-L-14", "quick_gelu"),
    ],
)
def test_a_published_file_is_known_by_its_path(path, model, activation):
    known = find_known(Path("/data") / path)
    assert (known.model, known.activation) == (model, activation)


@pytest.mark.parametrize("path", ["epoch_20.pt", "other/epoch_20.pt", "RemoteCLIP-ViT-B-32.pt.part", "clip.pt"])
def test_nothing_is_said_of_other_files(path):
    assert find_known(Path(path)) is None
    assert stated_activation(Path(path)) is None


def test_every_entry_names_a_model_of_open_clip_and_its_source():
    names = open_clip.list_models()
    for family in known_families().values():
        assert family.where.startswith("https://")
        assert all(entry.model in names and entry.why for entry in family.entries)


def test_a_damaged_file_has_no_metadata(tmp_path):
    (tmp_path / "clip.safetensors").write_bytes(b"cut")
    assert weights_metadata(tmp_path / "clip.safetensors") == {}
    assert weights_metadata(tmp_path / "absent.safetensors") == {}
