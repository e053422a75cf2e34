"""The evaluator: agreement with Detectron2's on the same predictions, its files, and several processes."""

import json
import logging
import tracemalloc
import uuid
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator, inference_on_dataset, print_csv_format
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from PIL import Image

from sgovss.errors import InputError
from sgovss.evaluation.evaluator import OpenVocabularyEvaluator, seen_flags
from sgovss.vocabulary import Vocabulary

TEST = Vocabulary.from_string("building, road, tree|forest, water, ship, storage tank")
TRAINING = Vocabulary.from_string("Building, forest, farmland, storage-tank")
IGNORE = 65535
HEADLINES = ("mIoU", "fwIoU", "mACC", "pACC")


def load(path, dtype=np.int64):
    return np.array(Image.open(path), dtype=dtype)


def register(folder, truths, ignore=IGNORE, dataset_ids=None):
    """Register (H, W) label arrays as a Detectron2 dataset; return its name."""
    name = f"evaluated_{uuid.uuid4().hex}"
    records = []
    for index, truth in enumerate(truths):
        path = Path(folder) / f"label{index}.png"
        if not path.exists():
            Image.fromarray(truth.astype(np.uint16)).save(path)
        records.append({"file_name": f"image{index}.png", "sem_seg_file_name": str(path)})
    DatasetCatalog.register(name, lambda: records)
    metadata = MetadataCatalog.get(name).set(stuff_classes=TEST.names, ignore_label=ignore)
    if dataset_ids:
        metadata.set(stuff_dataset_id_to_contiguous_id=dataset_ids)
    return name


def samples(seed=0, count=4):
    """Return label maps with ignored pixels and without ships, and random scores in which roads are rare."""
    rng = np.random.default_rng(seed)
    truths, scores = [], []
    for index in range(count):
        size = (20 + index, 30)
        truth = rng.choice([0, 1, 2, 3, 5], size=size)
        truth[rng.random(size) < 0.1] = IGNORE
        score = torch.from_numpy(rng.normal(size=(len(TEST), *size)).astype(np.float32))
        score[1] -= 4
        truths.append(truth)
        scores.append(score)
    return truths, scores


def evaluator(name, output_dir=None, **options):
    options = {"training_vocabulary": TRAINING, "sem_seg_loading_fn": load, **options}
    return OpenVocabularyEvaluator(name, False, output_dir, vocabulary=TEST, **options)


@pytest.mark.parametrize(("images", "outputs"), [(1, 0), (1, 2), (2, 1), (3, 2)])
def test_a_batch_with_an_output_too_few_or_too_many_is_an_error(tmp_path, images, outputs):
    truths, scores = samples(count=3)
    evaluate = evaluator(register(tmp_path, truths))
    inputs = [{"file_name": f"image{index}.png"} for index in range(images)]
    with pytest.raises(ValueError, match="zip"):
        evaluate.process(inputs, [{"sem_seg": score} for score in scores[:outputs]])


def run(evaluate, scores):
    evaluate.reset()
    for index, score in enumerate(scores):
        evaluate.process([{"file_name": f"image{index}.png"}], [{"sem_seg": score}])
    return evaluate.evaluate()


@pytest.mark.parametrize("seed", range(3))
def test_equals_detectron2_on_the_same_predictions(tmp_path, seed):
    truths, scores = samples(seed)
    name = register(tmp_path, truths)
    theirs = run(SemSegEvaluator(name, False, sem_seg_loading_fn=load), scores)["sem_seg"]
    ours = run(evaluator(name), scores)["sem_seg"]
    for key in HEADLINES:
        assert ours[key] == pytest.approx(theirs[key], rel=1e-12)
    for key in (f"{metric}-{word}" for metric in ("IoU", "ACC") for word in TEST.names):
        assert ours.get(key, np.nan) == pytest.approx(theirs[key], rel=1e-12, nan_ok=True)
    assert np.isnan(theirs["IoU-ship"])
    assert "IoU-ship" not in ours
    assert ours["mIoU_present_or_predicted"] < ours["mIoU"]  # ships are predicted but absent from the ground truth


@pytest.mark.parametrize("dataset_ids", [None, {10 + index: index for index in range(len(TEST))}])
def test_coco_json_equals_detectron2s(tmp_path, dataset_ids):
    truths, scores = samples()
    name = register(tmp_path, truths, dataset_ids=dataset_ids)
    theirs = SemSegEvaluator(name, False, tmp_path / "theirs", sem_seg_loading_fn=load)
    theirs._compute_boundary_iou = False
    run(theirs, scores)
    run(evaluator(name, tmp_path, save_predictions=True), scores)
    ours = tmp_path / "evaluation" / name / "sem_seg_predictions.json"
    assert json.loads(ours.read_text()) == json.loads((tmp_path / "theirs" / "sem_seg_predictions.json").read_text())


def test_files(tmp_path):
    truths, scores = samples()
    name = register(tmp_path, truths)
    settings = {"views": "whole image", "templates": ["a RS photo of {}"], "precision": "fp32"}
    results = run(evaluator(name, tmp_path, settings=settings), scores)["sem_seg"]
    content = json.loads((tmp_path / "evaluation" / f"{name}.json").read_text())
    for key in (*HEADLINES, "mIoU_present_or_predicted", "seen_mIoU", "unseen_mIoU", "harmonic_mIoU"):
        assert content[key] == results[key]
    assert content["classes"] == TEST.names
    assert content["seen"] == ["building", "tree", "storage tank"]
    assert content["unseen"] == ["road", "water", "ship"]
    assert content["training_vocabulary"] == TRAINING.names
    assert (content["dataset"], content["images"], content["settings"]) == (name, 4, settings)
    assert all(
        set(row) == {"name", "iou", "precision", "recall", "seen", "match", "pixels"} for row in content["per_class"]
    )
    ship = content["per_class"][4]
    assert ship == {
        "name": "ship", "iou": None, "precision": 0.0, "recall": None, "seen": False, "match": None, "pixels": 0
    }  # fmt: skip
    assert sum(row["pixels"] for row in content["per_class"]) == sum(int((t != IGNORE).sum()) for t in truths)
    written = {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert written == {f"{name}.json", f"{name}_confusion.png", name}
    written = {path.name for path in (tmp_path / "evaluation" / name).iterdir()}
    assert written == {"classes.md", "classes.tex", "classes.csv", "images.json"}
    assert Image.open(tmp_path / "evaluation" / f"{name}_confusion.png").format == "PNG"


def test_group_means_are_over_seen_and_unseen_classes(tmp_path):
    truths, scores = samples()
    results = run(evaluator(register(tmp_path, truths)), scores)["sem_seg"]
    seen = np.mean([results[f"IoU-{word}"] for word in ("building", "tree", "storage tank")])
    unseen = np.mean([results[f"IoU-{word}"] for word in ("road", "water")])
    assert results["seen_mIoU"] == pytest.approx(seen)
    assert results["unseen_mIoU"] == pytest.approx(unseen)
    assert results["harmonic_mIoU"] == pytest.approx(2 * seen * unseen / (seen + unseen))


def test_results_can_be_printed_and_stored_by_detectron2(tmp_path, caplog):
    truths, scores = samples()
    results = run(evaluator(register(tmp_path, truths), training_vocabulary=None), scores)
    assert "seen_mIoU" not in results["sem_seg"]
    assert all(type(value) is float for value in flatten_results_dict(results).values())
    with caplog.at_level(logging.INFO):
        print_csv_format(results)
    assert "mIoU,mIoU_present_or_predicted,fwIoU,mACC,pACC,unseen_mIoU" in caplog.text


def test_runs_in_detectron2s_inference_loop(tmp_path):
    truths, scores = samples()
    name = register(tmp_path, truths)

    class Model(torch.nn.Module):
        def forward(self, batch):
            return [{"sem_seg": scores[record["index"]]} for record in batch]

    loader = [[{"file_name": f"image{index}.png", "index": index}] for index in range(len(scores))]
    assert inference_on_dataset(Model(), loader, evaluator(name)) == run(evaluator(name), scores)


def test_groups_without_classes_are_null_in_the_json(tmp_path):
    truths, scores = samples()
    name = register(tmp_path, truths)
    run(evaluator(name, tmp_path, training_vocabulary=None), scores)
    content = json.loads((tmp_path / "evaluation" / f"{name}.json").read_text())
    assert content["seen_mIoU"] is None
    assert content["harmonic_mIoU"] is None
    assert content["unseen_mIoU"] == content["mIoU"]
    assert content["training_vocabulary"] is None


def test_label_maps_give_the_scores_of_their_logits_and_may_reject_pixels(tmp_path):
    truths, scores = samples()
    name = register(tmp_path, truths)
    maps = [score.argmax(0).to(torch.int32) for score in scores]
    assert run(evaluator(name), maps) == run(evaluator(name), scores)
    for ids in maps:
        ids[:5] = IGNORE
    rejected = run(evaluator(name, tmp_path, save_predictions=True), maps)["sem_seg"]
    assert rejected["pACC"] < run(evaluator(name), scores)["sem_seg"]["pACC"]
    segments = json.loads((tmp_path / "evaluation" / name / "sem_seg_predictions.json").read_text())
    assert {segment["category_id"] for segment in segments} <= set(range(len(TEST)))


def test_no_images_is_null_not_a_crash(tmp_path):
    name = register(tmp_path, [])
    assert run(evaluator(name, tmp_path), []) == {"sem_seg": {}}
    assert json.loads((tmp_path / "evaluation" / f"{name}.json").read_text())["mIoU"] is None


def test_another_size_names_the_file(tmp_path):
    name = register(tmp_path, [np.zeros((8, 10))])
    with pytest.raises(InputError, match=r"label0\.png: label is 10 x 8 .* image0\.png is 9 x 8"):
        run(evaluator(name), [torch.zeros(len(TEST), 8, 9)])


def test_stray_label_value_names_file_value_and_count(tmp_path):
    truth = np.zeros((8, 10))
    truth[0, :3] = 77
    name = register(tmp_path, [truth])
    with pytest.raises(InputError, match=r"label0\.png: value 77 \(3 stray pixels\)"):
        run(evaluator(name), [torch.zeros(len(TEST), 8, 10)])


def test_scores_of_another_vocabulary_are_refused(tmp_path):
    name = register(tmp_path, [np.zeros((8, 10))])
    with pytest.raises(InputError, match="prediction has 3 classes"):
        run(evaluator(name), [torch.zeros(3, 8, 10)])
    with pytest.raises(InputError, match="6 classes in the labels but 2"):
        OpenVocabularyEvaluator(name, vocabulary=Vocabulary.from_string("a, b"), sem_seg_loading_fn=load)


def test_the_seen_classes_can_be_overridden():
    assert seen_flags(TEST, TRAINING, ["road", "forest"]) == [False, True, True, False, False, False]
    assert seen_flags(TEST, TRAINING, ["road, forest"]) == seen_flags(TEST, TRAINING, ["road", "forest"])
    assert seen_flags(TEST, TRAINING, []) == [False] * 6
    assert seen_flags(Vocabulary.from_string("car, cars"), None, ["cars"]) == [False, True]
    with pytest.raises(InputError, match=r"TEST\.SEEN: 'lake' is not a class of the test set; its classes are"):
        seen_flags(TEST, TRAINING, ["lake"])


def json_of(folder, **options):
    """Evaluate one image; return the content of the JSON file."""
    truths, scores = samples(count=1)
    name = register(folder, truths)
    run(evaluator(name, folder, **options), scores)
    return json.loads((folder / "evaluation" / f"{name}.json").read_text())


def test_the_json_says_what_was_matched_with_what(tmp_path, caplog):
    training = Vocabulary.from_string("Buildings, woods|Forest, sea|waters, storage tanks, vehicle")
    with caplog.at_level(logging.INFO):
        content = json_of(tmp_path, training_vocabulary=training)
    matches = {row["name"]: row["match"] and tuple(row["match"].values()) for row in content["per_class"]}
    assert matches == {
        "building": ("building", "Buildings", "Buildings"),
        "road": None,
        "tree": ("forest", "woods", "Forest"),
        "water": ("water", "sea", "waters"),
        "ship": None,
        "storage tank": ("storage tank", "storage tanks", "storage tanks"),
    }
    assert content["seen"] == [name for name, match in matches.items() if match]
    assert content["seen_override"] is None
    assert "seen as woods" in caplog.text and "seen as vehicle" not in caplog.text


def test_the_json_says_that_the_seen_classes_were_given(tmp_path):
    content = json_of(tmp_path, seen=("roads", "forest"))
    assert (content["seen"], content["seen_override"]) == (["road", "tree"], ["roads", "forest"])
    assert all(row["match"] is None for row in content["per_class"])


@pytest.mark.parametrize(("save", "bounds"), [(False, (0, 2_000)), (True, (10_000, 10_000_000))])
def test_memory_does_not_grow_with_the_images_unless_predictions_are_kept(tmp_path, save, bounds):
    truth, images = np.zeros((64, 64)), 60
    name = register(tmp_path, [truth] * images)
    evaluate = evaluator(name, save_predictions=save)
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, len(TEST), (64, 64)))  # long run-length masks
    tracemalloc.start()
    for index in range(images):
        evaluate.process([{"file_name": f"image{index}.png"}], [{"sem_seg": noise}])
        if index == 9:
            before = tracemalloc.get_traced_memory()[0]
    growth = (tracemalloc.get_traced_memory()[0] - before) / (images - 10)
    tracemalloc.stop()
    assert bounds[0] <= growth <= bounds[1]


def _join(rank, folder):
    """Become one of two processes, and evaluate a part."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", world_size=2, rank=rank)
    comm.create_local_process_group(2)
    _evaluate_part(folder)


def _evaluate_part(folder):
    """Evaluate every second image in this process; the main process compares the sum with a run of its own."""
    truths, scores = samples(count=5)
    name = register(folder, truths)
    options = {"training_vocabulary": TRAINING, "sem_seg_loading_fn": load, "save_predictions": True}
    evaluate = OpenVocabularyEvaluator(name, True, folder, vocabulary=TEST, **options)
    for index in range(comm.get_rank(), len(scores), comm.get_world_size()):
        evaluate.process([{"file_name": f"image{index}.png"}], [{"sem_seg": scores[index]}])
    results = evaluate.evaluate()
    if not comm.is_main_process():
        assert results is None
        return
    alone = run(evaluator(name, Path(folder) / "alone", **options), scores)
    assert results == alone
    together, single = (
        json.loads((Path(base) / "evaluation" / name / "sem_seg_predictions.json").read_text())
        for base in (folder, Path(folder) / "alone")
    )
    assert sorted(map(json.dumps, together)) == sorted(map(json.dumps, single))
    counts = json.loads((Path(folder) / "evaluation" / f"{name}.json").read_text())
    assert counts["images"] == 5
    (Path(folder) / "checked").touch()


def test_two_processes_count_like_one(tmp_path):
    truths, _ = samples(count=5)
    register(tmp_path, truths)  # writes the label files before both processes read them
    # Forked, because spawned processes import everything again.
    torch.multiprocessing.start_processes(_join, (str(tmp_path),), nprocs=2, start_method="fork")
    assert (tmp_path / "checked").exists()
