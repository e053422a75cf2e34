"""Records become tensors: ids, orientation, padding, held-out classes."""

import pickle
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, build_detection_test_loader, build_detection_train_loader
from detectron2.data import transforms as T
from detectron2.utils.env import seed_all_rng
from PIL import Image

from sgovss.config import add_sgovss_config
from sgovss.data.label_map import LabelMap
from sgovss.data.labels import load_labels
from sgovss.data.mapper import SegmentationMapper, inference_augmentations, training_augmentations
from sgovss.data.registration import dataset_metadata, register_dataset
from sgovss.data.specification_file import find_specification
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary

RAW_TO_ID = np.array([255, 0, 1, 2, 0])


@pytest.fixture
def records(fields, write_fields):
    register_dataset(fields, write_fields())
    return DatasetCatalog.get("fields_train")


@pytest.fixture
def label_maps(fields):
    return {"fields_train": LabelMap.from_specification(fields)}


@pytest.fixture
def cfg() -> CfgNode:
    cfg = get_cfg()
    add_sgovss_config(cfg)
    cfg.INPUT.MIN_SIZE_TRAIN = (20, 40)
    cfg.INPUT.MIN_SIZE_TEST = 48
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.TYPE = "absolute"
    cfg.INPUT.CROP.SIZE = [32, 32]
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("fields_train",)
    return cfg


def make_mapper(**settings) -> SegmentationMapper:
    """A mapper for datasets of any words: these tests are about pixels."""
    words = Vocabulary.from_string("building, road, water")
    names = settings.get("label_maps") or ["fields_train"]
    return SegmentationMapper(vocabularies=dict.fromkeys(names, words), **settings)


def augmentations(**changes):
    settings = {"min_sizes": (0,), "max_size": 4096, "crop_size": None, "any_orientation": False, "color_jitter": False}
    return training_augmentations(**settings | changes)


def test_native_image_and_ids(records, label_maps):
    sample = make_mapper(augmentations=[], label_maps=label_maps)(records[0])
    raw = np.asarray(Image.open(records[0]["sem_seg_file_name"]))
    np.testing.assert_array_equal(sample["sem_seg"], RAW_TO_ID[raw])
    pixels = np.asarray(Image.open(records[0]["file_name"]))
    np.testing.assert_array_equal(sample["image"].permute(1, 2, 0), pixels)
    assert (sample["image"].dtype, sample["sem_seg"].dtype) == (torch.uint8, torch.uint8)
    assert sample["image"].is_contiguous()
    assert (sample["height"], sample["width"]) == (24, 32)
    assert (sample["file_name"], sample["dataset"]) == (records[0]["file_name"], "fields_train")


def test_without_a_label_file_every_pixel_is_ignored(records, label_maps):
    record = {key: value for key, value in records[0].items() if key != "sem_seg_file_name"}
    sample = make_mapper(augmentations=augmentations(crop_size=(16, 16)), label_maps=label_maps)(record)
    assert sample["sem_seg"].shape == (16, 16) and sample["sem_seg"].eq(255).all()
    assert sample["sem_seg"].dtype == torch.uint8


def test_more_than_255_classes_need_int64(records):
    labels = LabelMap.from_values([[value] for value in range(1, 301)], [0])
    sample = make_mapper(augmentations=augmentations(crop_size=(64, 64)), label_maps={"fields_train": labels})(
        records[0]
    )
    assert sample["sem_seg"].dtype == torch.int64
    assert sample["sem_seg"].max() == labels.ignore_label == 65535


def test_record_is_not_changed(records, label_maps):
    before = dict(records[0])
    make_mapper(augmentations=augmentations(), label_maps=label_maps)(records[0])
    assert records[0] == before


def test_held_out_classes_are_ignored_and_ids_close_ranks(records, label_maps):
    sample = make_mapper(augmentations=[], label_maps=label_maps, held_out=(1,))(records[0])
    raw = np.asarray(Image.open(records[0]["sem_seg_file_name"]))
    np.testing.assert_array_equal(sample["sem_seg"], np.array([255, 0, 255, 1, 0])[raw])


def test_image_and_label_move_together_through_every_augmentation(tmp_path, label_maps):
    """The image shows the label; after any geometry it still does, and padding shows only as ignored."""
    blocks = np.kron(np.random.default_rng(1).integers(1, 4, (6, 8)), np.ones((16, 16))).astype(np.uint8)
    Image.fromarray(np.repeat(blocks[..., None] * 50, 3, axis=2)).save(tmp_path / "x.png")
    Image.fromarray(blocks).save(tmp_path / "y.png")
    record = {"file_name": str(tmp_path / "x.png"), "sem_seg_file_name": str(tmp_path / "y.png")}
    steps = augmentations(min_sizes=(40, 160), size_sampling="range", crop_size=(96, 64), any_orientation=True)
    mapper = make_mapper(augmentations=steps, label_maps=label_maps)
    seed_all_rng(0)
    agreement = []
    for _ in range(40):
        sample = mapper(record | {"dataset": "fields_train"})
        image, labels = sample["image"].numpy(), sample["sem_seg"].numpy()
        assert image.shape == (3, 96, 64)
        assert labels.shape == (96, 64)
        padded = labels == 255
        assert (image[:, padded] == 128).all()
        assert not padded[:20, :20].any()
        shown = np.rint(image[0][~padded] / 50) - 1
        agreement.append((shown == labels[~padded]).mean())
    # Only pixels blended at the edges of blocks may disagree.
    assert min(agreement) > 0.8
    assert np.mean(agreement) > 0.9


def test_any_orientation_gives_all_eight_alike(tmp_path, label_maps):
    raw = np.array([[1, 2], [3, 0]], np.uint8)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "x.png")
    Image.fromarray(raw).save(tmp_path / "y.png")
    record = {"file_name": str(tmp_path / "x.png"), "sem_seg_file_name": str(tmp_path / "y.png")}
    mapper = make_mapper(augmentations=augmentations(any_orientation=True), label_maps=label_maps)
    seed_all_rng(0)
    seen = [mapper(record | {"dataset": "fields_train"})["sem_seg"].numpy().tobytes() for _ in range(400)]
    ids = RAW_TO_ID[raw]
    expected = {np.rot90(side, k).astype(np.uint8).tobytes() for side in (ids, ids[:, ::-1]) for k in range(4)}
    assert set(seen) == expected
    assert min(seen.count(way) for way in expected) > 25


def test_oblique_views_are_never_turned_upside_down(records, label_maps):
    mapper = make_mapper(augmentations=augmentations(any_orientation=False), label_maps=label_maps)
    raw = RAW_TO_ID[np.asarray(Image.open(records[0]["sem_seg_file_name"]))]
    for _ in range(8):
        labels = mapper(records[0])["sem_seg"].numpy()
        assert np.array_equal(labels, raw) or np.array_equal(labels, raw[:, ::-1])


def test_crop_avoids_one_class_filling_it(tmp_path, label_maps):
    raw = np.ones((64, 64), np.uint8)
    raw[:, 48:] = 2
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "x.png")
    Image.fromarray(raw).save(tmp_path / "y.png")
    record = {"file_name": str(tmp_path / "x.png"), "sem_seg_file_name": str(tmp_path / "y.png")}

    def mixed(max_category_area: float) -> int:
        steps = augmentations(crop_size=(32, 32), max_category_area=max_category_area)
        mapper = make_mapper(augmentations=steps, label_maps=label_maps)
        seed_all_rng(0)
        return sum(len(mapper(record | {"dataset": "fields_train"})["sem_seg"].unique()) == 2 for _ in range(50))

    assert mixed(0.9) > mixed(1.0) + 10


def test_colour_jitter_changes_the_image_only(records, label_maps):
    plain = make_mapper(augmentations=[], label_maps=label_maps)(records[0])
    steps = [step for step in augmentations(color_jitter=True) if not isinstance(step, T.RandomFlip)]
    mapper = make_mapper(augmentations=steps, label_maps=label_maps)
    samples = [mapper(records[0]) for _ in range(10)]
    assert any(not torch.equal(sample["image"], plain["image"]) for sample in samples)
    assert all(torch.equal(sample["sem_seg"], plain["sem_seg"]) for sample in samples)


def test_more_than_255_classes_survive_augmentation(tmp_path):
    raw = np.arange(300, dtype=np.uint16).reshape(15, 20)
    Image.fromarray(np.zeros((15, 20, 3), np.uint8)).save(tmp_path / "x.png")
    Image.fromarray(raw).save(tmp_path / "y.png")
    maps = {"many": LabelMap.from_values([[i] for i in range(299)], [299])}
    record = {"file_name": str(tmp_path / "x.png"), "sem_seg_file_name": str(tmp_path / "y.png"), "dataset": "many"}
    steps = augmentations(min_sizes=(30,), crop_size=(48, 48), any_orientation=True, ignore_label=65535)
    labels = make_mapper(augmentations=steps, label_maps=maps)(record)["sem_seg"]
    assert set(labels.unique().tolist()) == {*range(299), 65535}


def test_inference_mapper_reads_no_label(records):
    mapper = make_mapper(augmentations=inference_augmentations(48, 60))
    record = {key: value for key, value in records[0].items() if key != "sem_seg_file_name"}
    sample = mapper(record)
    assert sample["image"].shape == (3, 45, 60)
    assert (sample["height"], sample["width"]) == (24, 32)
    assert "sem_seg" not in sample
    assert make_mapper(augmentations=inference_augmentations(0, 60))(record)["image"].shape == (3, 24, 32)


def test_wrong_files_are_named(records, label_maps):
    mapper = make_mapper(augmentations=[], label_maps=label_maps)
    Image.new("L", (32, 24), 50).save(records[0]["sem_seg_file_name"])
    with pytest.raises(InputError, match=r"a_0\.png: label value 50 \(768 pixels\)"):
        mapper(records[0])
    Image.new("L", (32, 25), 1).save(records[0]["sem_seg_file_name"])
    with pytest.raises(InputError, match=r"a_0\.png: label is 32x25 pixels, its image .*a_0\.jpg is 32x24"):
        mapper(records[0])


def test_from_config(cfg, records):
    cfg.DATASETS.UNSEEN = ("river, hedge",)
    assert set(SegmentationMapper(cfg, is_train=True)(records[0])["sem_seg"].unique().tolist()) <= {0, 255}
    cfg.DATASETS.UNSEEN = ("river",)
    sample = SegmentationMapper(cfg, is_train=True)(records[0])
    assert sample["image"].shape == (3, 32, 32)
    assert set(sample["sem_seg"].unique().tolist()) <= {0, 1, 255}
    sample = SegmentationMapper(cfg, is_train=False)(records[0])
    assert sample["image"].shape == (3, 48, 64)
    assert "labels_only" not in sample
    assert SegmentationMapper(cfg, is_train=False, labels_only=True)(records[0])["labels_only"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("DATASETS.UNSEEN", ("lake",), "'lake' is not a class"),
        ("DATASETS.UNSEEN", (5,), "DATASETS.UNSEEN: 5 is not a class name"),
        ("DATASETS.UNSEEN", ("field, lake",), "'lake' is not a class"),
        ("DATASETS.TRAIN", (), "names no training set"),
        ("INPUT.CROP.TYPE", "relative", "give TYPE 'absolute'"),
        ("INPUT.CROP.SIZE", [0.5, 0.5], "give TYPE 'absolute'"),
        ("INPUT.MIN_SIZE_TRAIN_SAMPLING", "any", "give 'choice'"),
    ],
)
def test_wrong_config(cfg, records, key, value, message):
    cfg.merge_from_list([key, value])
    with pytest.raises(InputError, match=message):
        SegmentationMapper(cfg, is_train=True)


def test_range_needs_two_sizes(cfg, records):
    cfg.INPUT.MIN_SIZE_TRAIN_SAMPLING = "range"
    cfg.INPUT.MIN_SIZE_TRAIN = (20,)
    with pytest.raises(InputError, match="or 'range' and"):
        SegmentationMapper(cfg, is_train=True)


def _shape(mapper, record):
    return tuple(mapper(record)["sem_seg"].shape)


def test_mapper_is_picklable(cfg, records):
    mapper = pickle.loads(pickle.dumps(SegmentationMapper(cfg, is_train=True)))
    assert _shape(mapper, records[0]) == (32, 32)


@pytest.mark.slow
def test_mapper_works_in_a_spawned_process(cfg, records):
    """As in loader workers of a launched run, whose catalogs are empty."""
    with get_context("spawn").Pool(1) as pool:
        assert pool.apply(_shape, (SegmentationMapper(cfg, is_train=True), records[0])) == (32, 32)


def test_detectron2_loaders_take_it(cfg, records):
    loader = build_detection_train_loader(
        DatasetCatalog.get("fields_train"),
        mapper=SegmentationMapper(cfg, is_train=True),
        total_batch_size=2,
        num_workers=0,
        aspect_ratio_grouping=True,
    )
    batch = next(iter(loader))
    assert [tuple(sample["sem_seg"].shape) for sample in batch] == [(32, 32)] * 2
    test_loader = build_detection_test_loader(records, mapper=SegmentationMapper(cfg, is_train=False), num_workers=0)
    assert [sample["file_name"] for (sample,) in test_loader] == [record["file_name"] for record in records]


def test_real_images_through_the_training_mapper(real_data):
    register_dataset(find_specification("dubai_mbrsc"), real_data)
    records = DatasetCatalog.get("dubai_mbrsc_train")
    labels = dataset_metadata("dubai_mbrsc_train").label_map
    steps = augmentations(min_sizes=(384, 768), size_sampling="range", crop_size=(384, 384), any_orientation=True)
    mapper = make_mapper(augmentations=steps, label_maps={"dubai_mbrsc_train": labels})
    for record in records[::9]:
        sample = mapper(record)
        assert sample["image"].shape == (3, 384, 384)
        before = set(np.unique(load_labels(record["sem_seg_file_name"], labels)))
        assert set(sample["sem_seg"].unique().tolist()) <= before | {255}
