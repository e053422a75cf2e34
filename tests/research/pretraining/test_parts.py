"""Parts of pre-training that need no model: sources, views, losses, retrieval, thresholds and tables."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from research.pretraining.banepa import WINDOW, best_threshold, building_iou, cut_windows
from research.pretraining.crops import coarsen, draw_crops, mosaics, split_mosaics
from research.pretraining.manifests import RSICD_SCENES
from research.pretraining.nouns import NOUNS, SHARPNESS, find_nouns, noun_loss, soft_maximum
from research.pretraining.objective import rest_loss
from research.pretraining.pool import LARGEST_MAGNIFICATION, ImagePool
from research.pretraining.regions import REST, read_banepa
from research.pretraining.retrieval import recall_at
from research.pretraining.scorecard import write_scorecards
from research.pretraining.sources import RSICD, UCM, allowed_sources
from research.pretraining.training import Pretraining

CPU = torch.device("cpu")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def data(tmp_path):
    """A data folder with ten images of each set in one scene, whose files are empty."""
    for source, scene, field in ((UCM, "beach", {}), (RSICD, "port", {"class": "Port"})):
        root = tmp_path / source.folder / source.images
        (root / scene).mkdir(parents=True)
        lines = []
        for index in range(10):
            (root / scene / f"{index}.jpg").touch()
            part = "test" if index < 3 else "train"
            lines.append({"file": f"{scene}/{index}.jpg", "captions": ["Sand ."], "split": part, **field})
        (tmp_path / source.folder / source.manifest).write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "held_out", "scene"), [(UCM, ["4", "9"], "beach"), (RSICD, ["0", "1", "2"], "port")]
)
def test_each_set_has_its_own_split_and_scene_names(data, source, held_out, scene):
    training, other = source.records(data)
    assert [record.image.stem for record in other] == held_out and len(training) == 10 - len(held_out)
    assert {record.scene for record in training} == {scene}


def test_the_open_licence_leaves_out_what_is_for_research_only():
    assert allowed_sources("any") == [UCM, RSICD] and allowed_sources("open") == [UCM]
    assert len(set(RSICD_SCENES.values())) == 30


def test_small_images_keep_their_size_and_are_hardly_enlarged():
    pool = ImagePool(
        [np.full((side, side, 3), value, np.uint8) for value, side in enumerate((150, 256, 400, 253, 150))]
    )
    assert pool.sides.tolist() == [150, 256, 256, 256, 150] and len(pool) == 5
    chosen = torch.tensor([4, 1, 0, 2])
    for size in (192, 96, 64):
        smallest = pool.smallest(chosen, 0.375, size)
        assert (size / (smallest * pool.sides[chosen]) <= LARGEST_MAGNIFICATION + 1e-5).all()
        assert (smallest >= 0.375).all()
    views = pool.views(chosen, draw_crops(4, smallest, seeded()), 64, CPU)
    assert views.mean(dim=(1, 2, 3)).tolist() == [4, 1, 0, 2]


@pytest.mark.parametrize("side", [1, 2, 3])
def test_mosaics_are_split_into_their_tiles(side):
    tiles = torch.randn(2 * side**2, 5, 2, 3, generator=seeded())
    assert torch.equal(split_mosaics(mosaics(tiles, side), side), tiles)


def test_coarse_views_lose_detail_and_keep_their_mean():
    views = torch.rand(64, 3, 32, 32, generator=seeded()) * 255
    assert torch.equal(coarsen(views, 1, seeded()), views)
    coarse = coarsen(views, 3, seeded(1))
    assert coarse.shape == views.shape and torch.equal(coarse, coarsen(views, 3, seeded(1)))
    changed = (coarse != views).flatten(1).any(dim=1)
    assert 0 < changed.sum() < 64
    assert (coarse[changed].std(dim=(1, 2, 3)) < views[changed].std(dim=(1, 2, 3))).all()
    torch.testing.assert_close(coarse.mean(dim=(2, 3)), views.mean(dim=(2, 3)), atol=4, rtol=0)


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("Several storage tanks stand beside a road .", {"storage tank", "road"}),
        ("Two tennis courts and many cars", {"tennis court", "car"}),
        ("many green trees are in a dense residential area", {"tree", "dense residential area"}),
        ("Beaches and churches , buses", {"beach", "church"}),
        ("it is grey .", set()),
    ],
)
def test_nouns_of_captions(caption, nouns):
    assert {NOUNS[index] for index in find_nouns([caption])} == nouns


def test_the_soft_maximum_lies_between_mean_and_maximum():
    values = torch.rand(4, 30, generator=seeded())
    expected = [SHARPNESS * math.log(sum(math.exp(v / SHARPNESS) for v in row) / 30) for row in values.tolist()]
    soft = soft_maximum(values)
    assert soft.tolist() == pytest.approx(expected, abs=1e-5)
    assert (values.mean(dim=1) < soft).all() and (soft < values.amax(dim=1)).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noun_loss_is_the_written_out_one(seed):
    draw = seeded(seed)
    nouns = F.normalize(torch.randn(6, 8, generator=draw), dim=1)
    maps = torch.randn(3, 8, 2, 2, generator=draw)
    present = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], [1, 0, 0, 0, 0, 1]], dtype=torch.bool)
    picked, temperature = torch.tensor([1, 2, 0]), 0.1
    logits, alike = np.zeros((3, 3)), np.zeros((3, 3))
    for image in range(3):
        for text, noun in enumerate(picked.tolist()):
            cells = [F.cosine_similarity(maps[image, :, y, x], nouns[noun], dim=0) for y in (0, 1) for x in (0, 1)]
            logits[image, text] = float(soft_maximum(torch.stack(cells))) / temperature
            own = torch.nonzero(present[image])[:, 0].tolist()
            alike[image, text] = max(float(nouns[each] @ nouns[noun]) for each in own) / temperature

    def cross_entropy(scores, targets):
        soft = np.exp(targets) / np.exp(targets).sum(axis=1, keepdims=True)
        return -(soft * (scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))).sum(axis=1).mean()

    expected = (cross_entropy(logits, alike) + cross_entropy(logits.T, alike.T)) / 2
    assert float(noun_loss(maps, present, picked, nouns, temperature)) == pytest.approx(expected, rel=1e-4)


def test_a_noun_may_lie_in_one_place():
    nouns = torch.eye(2)
    present = torch.eye(2, dtype=torch.bool)
    picked = torch.tensor([0, 1])
    maps = -torch.ones(2, 2, 3, 3)
    wrong = noun_loss(maps, present, picked, nouns, 0.05)
    maps[0, :, 1, 2], maps[1, :, 0, 0] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert noun_loss(maps, present, picked, nouns, 0.05) < wrong / 4


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_rest_loss_is_the_written_out_one(seed):
    draw = seeded(seed)
    regions, rest = torch.randn(4, 8, generator=draw), torch.randn(3, 8, generator=draw)
    texts = F.normalize(torch.randn(4, 8, generator=draw), dim=1)
    total = 0.0
    for region, text in zip(regions, texts, strict=True):
        own = math.exp(float(F.cosine_similarity(region, text, dim=0)) / 0.1)
        others = [math.exp(float(F.cosine_similarity(other, text, dim=0)) / 0.1) for other in rest]
        total -= math.log(own / (own + sum(others))) / 4
    assert float(rest_loss(regions, texts, rest, 0.1)) == pytest.approx(total, rel=1e-4)


def test_recall_counts_captions_and_images():
    images = torch.eye(3)
    texts = F.normalize(torch.tensor([[1, 0.1, 0], [0.2, 1, 0], [0, 1, 0.3], [0, 1, 0.9]]), dim=1)
    owners = torch.tensor([0, 0, 1, 2])
    # Texts 1 and 3 are nearest to image 1, which is not theirs; so image 1 finds text 1.
    assert recall_at(images, texts, owners, 1) == pytest.approx((50, 200 / 3))
    assert recall_at(images, texts, owners, 2) == pytest.approx((100, 100))
    assert recall_at(images.flip(0), texts, owners, 1) == pytest.approx((25, 0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_best_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    mask = rng.choice(np.array([0, 1, 255], np.uint8), (8, 9))
    scores = rng.normal(mask == 1, 1.0).astype(np.float32)
    found = best_threshold(scores, mask)
    every = [building_iou(scores >= threshold, mask) for threshold in np.unique(scores[mask != 255])]
    assert building_iou(scores >= found, mask) == pytest.approx(max(every))
    known = mask[mask != 255]
    assert building_iou(np.ones_like(mask, bool), mask) == pytest.approx(100 * (known == 1).mean())


def test_windows_of_several_distances_and_masks_with_a_rest(monkeypatch):
    image = np.zeros((600, 1100, 3), np.uint8)
    mask = np.zeros((600, 1100), np.uint8)
    image[:, 500:700], mask[:, 500:700] = 200, 1
    mask[:50] = 255
    images, masks = cut_windows(image, mask)
    assert images.shape[1:] == (WINDOW, WINDOW, 3) and masks.shape == images.shape[:3]
    assert ((images[..., 0] > 100) == (masks == 1))[masks != 255].mean() > 0.99
    monkeypatch.setattr("research.pretraining.regions.read_halves", lambda data: ((image, mask), None))
    labelled = read_banepa("")
    assert set(labelled.masks.unique().tolist()) == {0, REST, 255}  # building, rest, unknown
    assert torch.equal(labelled.masks[:, 0] == 0, torch.from_numpy(masks == 1))


def test_the_average_follows_the_weights_and_remembers():
    holder = type("Run", (), {"recipe": type("Recipe", (), {"average": 0.9})})()
    average = torch.zeros(())
    for step in range(1, 400):
        average = Pretraining._blend(holder, average, torch.tensor(float(step)), step)
    # In the long run a factor of 0.9 lags 9 steps behind.
    assert float(average) == pytest.approx(399 - 9, abs=0.1)
    assert float(Pretraining._blend(holder, torch.zeros(()), torch.ones(()), 1)) > 0.8  # the start is soon forgotten


def test_editions_stand_side_by_side(tmp_path):
    write_scorecards({"first": {"a": 1.25, "b": 2.0}, "second": {"a": 3.0}}, tmp_path, "the command")
    written = json.loads((tmp_path / "scorecard.json").read_text())
    assert written == {"command": "the command", "figures": {"first": {"a": 1.25, "b": 2.0}, "second": {"a": 3.0}}}
    rows = (tmp_path / "scorecard.md").read_text().splitlines()
    assert rows[0] == "| zero-shot, % | first | second |" and rows[2:] == ["| a | 1.2 | 3.0 |", "| b | 2.0 | - |"]
