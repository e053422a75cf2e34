"""Tests of ``sgovss prepare``: its output, and how it handles interruptions and wrong input."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgovss.data import preparation
from sgovss.data.listing import list_pairs
from sgovss.data.preparation import JOURNALS
from sgovss.data.specification_file import load_specification

WHOLE = {"tile": None, "stride": None}


@pytest.fixture
def prepare(load_script, published, tmp_path, capsys):
    """A function that runs the command and returns its status, output and errors."""
    script = import_module("sgovss.commands.prepare")

    def run(*options: str, source: Path | None = None) -> tuple[int, str, str]:
        argv = [str(published.file), "--source", str(source or published.source), "--root", str(tmp_path / "root")]
        status = script.main([*argv, "--workers", "1", *options])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def files(folder: Path) -> dict[str, str]:
    """Return the digest of each file by its path below the folder, without journals."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and JOURNALS not in path.parts]
    return {path.relative_to(folder).as_posix(): hashlib.md5(path.read_bytes()).hexdigest() for path in paths}


def test_whole_images_are_copied_and_labels_become_ids(prepare, published, write_published, tmp_path):
    write_published({"image_suffix": ".jpg"}, **WHOLE)
    before = files(published.source)
    status, out, _ = prepare()
    assert status == 0
    folder = tmp_path / "root" / "shore"
    assert sorted(path.name for path in (folder / "train/images").iterdir()) == [
        f"{s}_{n}.jpg" for s in "ab" for n in "01"
    ]
    for name, ids in published.ids.items():
        split = "val" if name == "c_0" else "train"
        label = np.asarray(Image.open(folder / split / "labels" / f"{name}.png"))
        assert label.dtype == np.uint8
        assert (label == np.where(ids == 3, 255, ids)).all()
    copied = (folder / "train/images/a_0.jpg").read_bytes()
    assert copied == (published.source / "train/a/pictures/0.jpg").read_bytes()
    assert files(published.source) == before
    assert "published pairs: 4 done, 4 in the source, expected number not known" in out


def test_counts_are_those_of_the_published_labels(prepare, published, write_published):
    write_published()
    _, out, _ = prepare("--splits", "train")
    ids = np.stack([published.ids[name] for name in ("a_0", "a_1", "b_0", "b_1")])
    for index, name in enumerate(["grass", "water", "pier", "ignored"]):
        row = next(line for line in out.splitlines() if line.startswith(name))
        assert row.split()[1] == f"{(ids == index).sum():,}"
        assert row.split()[-1] == str((ids == index).any(axis=(1, 2)).sum())


def test_tiles_fit_their_labels(prepare, published, write_published, tmp_path):
    write_published()
    assert prepare()[0] == 0
    folder = tmp_path / "root/shore/train"
    names = {path.stem for path in (folder / "images").iterdir()}
    assert names == {path.stem for path in (folder / "labels").iterdir()}
    assert {name for name in names if name.startswith("a_0")} == {
        f"a_0_{top}_{top + 64}_{left}_{left + 64}" for top in (0, 36) for left in (0, 48, 76)
    }
    raw = np.asarray(Image.open(published.source / "train/a/pictures/0.jpg"))
    assert (np.asarray(Image.open(folder / "images/a_0_36_100_48_112.png")) == raw[36:100, 48:112]).all()
    label = np.asarray(Image.open(folder / "labels/a_0_36_100_48_112.png"))
    ids = published.ids["a_0"][36:100, 48:112]
    assert (label == np.where(ids == 3, 255, ids)).all()


def test_processes_give_what_one_does(prepare, write_published, tmp_path):
    write_published()
    prepare()
    alone = files(tmp_path / "root")
    shutil.rmtree(tmp_path / "root")
    prepare("--workers", "2")
    assert files(tmp_path / "root") == alone


def test_processes_are_started_only_for_what_is_left(prepare, write_published, monkeypatch):
    started = []
    mapped = preparation.map_in_processes
    monkeypatch.setattr(
        preparation,
        "map_in_processes",
        lambda function, items, workers: started.append(workers) or mapped(function, items, 1),
    )
    write_published()
    for _ in range(2):
        assert prepare("--splits", "train", "--workers", "3")[0] == 0
    assert started == [3, 1]


@pytest.mark.parametrize(
    ("changes", "select", "pairs"),
    [(WHOLE, "?_0", 2), (WHOLE, "a_?", 2), ({}, "?_1_*_*_*_*", 2), ({}, "b_?_?_*_0_*", 2), ({}, "*_*", 4)],
)
def test_a_split_selects_by_the_names_of_prepared_files(prepare, write_published, tmp_path, changes, select, pairs):
    write_published({"select": [select], "image_suffix": ".jpg" if changes else ".png"}, **changes)
    status, out, error = prepare("--splits", "train")
    assert status == 0, error
    assert f"published pairs: {pairs} done, {pairs} in the source" in out


def test_a_second_run_changes_nothing(prepare, write_published, tmp_path):
    write_published()
    _, first, _ = prepare()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*.png")}
    _, second, _ = prepare()
    assert second == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "root").rglob("*.png")} == times


def test_a_journal_of_an_earlier_version_says_nothing_of_interpolation(prepare, write_published, tmp_path):
    write_published()
    _, first, _ = prepare()
    journal = tmp_path / "root/shore" / JOURNALS / "shore_train.jsonl"
    settings, *pairs = map(json.loads, journal.read_text().splitlines())
    assert pairs and all(pair.pop("interpolated") is False for pair in pairs)
    journal.write_text("".join(json.dumps(line) + "\n" for line in (settings, *pairs)))
    status, second, _ = prepare()
    assert (status, second) == (0, first)


def test_a_variant_is_prepared_with_its_base(prepare, published, write_published, tmp_path):
    write_published()
    _, first, _ = prepare()
    before = files(tmp_path / "root")
    base = published.file
    published.file = tmp_path / "variant.yaml"
    published.file.write_text("name: variant\nvariant_of: shore\nignore: [pier]\n")
    status, out, _ = prepare()
    assert (status, out) == (0, f"variant is a variant of shore and reads its files; preparing those\n{first}")
    assert files(tmp_path / "root") == before
    spec = load_specification(published.file)
    for split in spec.splits:
        assert list_pairs(spec, split, tmp_path / "root") == [
            record | {"dataset": f"variant_{split}"}
            for record in list_pairs(load_specification(base), split, tmp_path / "root")
        ]


@pytest.mark.parametrize("suffix", [".tar", pytest.param(".tar.gz", marks=pytest.mark.slow)])
def test_tar_archives_are_prepared_like_folders(prepare, published, write_published, tmp_path, suffix):
    write_published()
    _, out, _ = prepare("--workers", "2")
    expected = files(tmp_path / "root")
    shutil.rmtree(tmp_path / "root")
    with tarfile.open(published.source / f"train{suffix}", "w" if suffix == ".tar" else "w:gz") as archive:
        archive.add(published.source / "train", "train")
    shutil.rmtree(published.source / "train")
    assert prepare("--workers", "2")[:2] == (0, out)
    assert files(tmp_path / "root") == expected


def test_an_interrupted_run_goes_on(prepare, write_published, tmp_path):
    write_published()
    _, summary, _ = prepare()
    whole = files(tmp_path / "root")
    journal = tmp_path / "root/shore" / JOURNALS / "shore_train.jsonl"
    # After a crash: one line cut off, one pair without its line, one file missing.
    lines = journal.read_text().splitlines()
    journal.write_text("\n".join([*lines[:3], lines[3][:20]]))
    (tmp_path / "root/shore/train/images/a_0_0_64_0_64.png").unlink()
    status, again, _ = prepare()
    assert (status, again) == (0, summary)
    assert files(tmp_path / "root") == whole


def test_parts_of_a_download_add_up(prepare, published, write_published, tmp_path):
    write_published()
    shutil.move(published.source / "train/b", tmp_path / "later")
    assert "published pairs: 2 done, 2 in the source" in prepare("--splits", "train")[1]
    shutil.rmtree(published.source / "train/a")
    shutil.move(tmp_path / "later", published.source / "train/b")
    assert "published pairs: 4 done, 2 in the source" in prepare("--splits", "train")[1]


def test_another_download_is_prepared_anew(prepare, published, write_published, tmp_path):
    write_published({"image_suffix": ".jpg"}, **WHOLE)
    prepare()
    mask = published.source / "train/a/masks/0.png"
    Image.fromarray(np.full((100, 140, 3), [0, 160, 0], np.uint8)).save(mask)
    prepare()
    assert (np.asarray(Image.open(tmp_path / "root/shore/train/labels/a_0.png")) == 0).all()


@pytest.mark.parametrize("orientation", [3, 6])
@pytest.mark.parametrize("tiled", [False, True])
def test_turned_photographs_are_refused(prepare, published, write_published, orientation, tiled):
    """Training would turn them, but it is not known whether the label belongs to the turned image."""
    write_published({}, **({} if tiled else WHOLE)) if tiled else write_published({"image_suffix": ".jpg"}, **WHOLE)
    photo = published.source / "train/a/pictures/0.jpg"
    image = Image.open(photo)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(photo, exif=exif)
    status, _, error = prepare()
    assert status == 1
    assert f"{photo}: has EXIF orientation {orientation}, so it is shown rotated" in error


def test_a_damaged_archive_is_one_line_for_each_of_its_files(prepare, published, write_published):
    write_published()
    archive = published.source / "val.zip"
    content = bytearray(archive.read_bytes())
    start = content.index(b"IHDR")
    content[start + 60 : start + 90] = bytes(30)
    archive.write_bytes(content)
    status, _, error = prepare()
    assert status == 1
    assert error.count("error: ") == 1 and "val.zip!val/c/masks/0.png: cannot read this file" in error


def test_other_settings_do_not_mix(prepare, write_published):
    write_published()
    prepare()
    write_published(tile=32, stride=32)
    status, _, error = prepare()
    assert status == 2
    assert "shore_train was prepared with other settings; remove" in error


def test_one_wrong_mask_does_not_stop_the_others(prepare, published, write_published, tmp_path):
    write_published()
    wrong = published.source / "train/a/masks/1.png"
    good = wrong.read_bytes()
    mask = np.array(Image.open(wrong))
    mask[5:8, 5:9] = [1, 2, 3]
    Image.fromarray(mask).save(wrong)
    status, out, error = prepare()
    assert status == 1
    assert f"error: {wrong}: colour outside the dataset's specification: [1, 2, 3] (12 pixels)" in error
    assert "published pairs: 3 done, 4 in the source" in out
    wrong.write_bytes(good)
    status, out, _ = prepare()
    assert status == 0
    assert "published pairs: 4 done, 4 in the source" in out


def test_sizes_that_differ(prepare, published, write_published):
    write_published()
    Image.new("RGB", (90, 90)).save(published.source / "train/b/pictures/0.jpg")
    status, _, error = prepare()
    assert status == 1
    assert "label is 140x100 pixels, its image" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda source: shutil.rmtree(source / "train/b/pictures"), "no image 'b_0' for this label (2 such labels)"),
        (lambda source: (source / "train/b/masks/1.png").write_bytes(b""), "cannot read this label image"),
        (lambda source: (source / "train/b/pictures/1.jpg").write_bytes(b"JFIF"), "cannot read this image"),
    ],
)
def test_what_is_wrong_with_the_source(prepare, published, write_published, change, message):
    write_published()
    change(published.source)
    status, _, error = prepare()
    assert status in (1, 2)
    assert message in error


def test_images_without_labels_are_counted(prepare, published, write_published):
    write_published()
    (published.source / "train/b/masks/1.png").unlink()
    assert "images without a label, left out: 1" in prepare()[1]


def test_a_split_that_was_not_downloaded_is_left_out(prepare, published, write_published, tmp_path):
    write_published()
    (published.source / "val.zip").unlink()
    status, out, _ = prepare()
    assert status == 0
    assert "left out: " in out and "no files of shore_val here; expected labels val/{*}/masks/{*}.png" in out
    status, _, error = prepare("--splits", "val")
    assert status == 2
    assert "no files of shore_val here" in error and "(source of the data: drawn by a test)" in error


def test_nothing_is_there_at_all(prepare, write_published, tmp_path):
    write_published()
    (tmp_path / "empty").mkdir()
    status, _, error = prepare(source=tmp_path / "empty")
    assert status == 2
    assert "no files of shore_train here" in error


def test_lossy_storage_is_refused(prepare, write_published):
    write_published({"image_suffix": ".jpg"})
    status, _, error = prepare()
    assert status == 1
    assert "which loses detail; set image_suffix of the split to .png" in error


def test_the_target_may_not_lie_in_the_source(load_script, published, write_published, capsys):
    write_published()
    argv = [str(published.file), "--source", str(published.source), "--root", str(published.source)]
    assert import_module("sgovss.commands.prepare").main(argv) == 2
    assert "the prepared data would be inside the source" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_target_that_cannot_be_written(prepare, write_published, tmp_path):
    write_published()
    (tmp_path / "root").mkdir(mode=0o500)
    status, _, error = prepare()
    assert status == 2
    assert "cannot write here" in error


def test_a_full_disk_keeps_what_is_finished(prepare, write_published, tmp_path, monkeypatch):
    write_published()
    save = Image.Image.save
    left = iter(range(20))

    def until_full(self, *args, **kwargs):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return save(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "save", until_full)
    status, _, error = prepare()
    assert status == 2
    assert (
        "cannot write here (No space left on device); solve this and run the command again, finished files are kept"
        in error
    )
    assert [path.name for path in (tmp_path / "root").rglob(".*.png")] == []
    monkeypatch.setattr(Image.Image, "save", save)
    assert prepare()[0] == 0


def test_chosen_bands_of_a_raster(prepare, published, write_published, tmp_path):
    rasterio = pytest.importorskip("rasterio")
    bands = np.random.default_rng(0).integers(0, 255, (5, 100, 140), dtype=np.uint8)
    for path in list(published.source.rglob("*.jpg")):
        with rasterio.open(
            path.with_suffix(".tif"), "w", driver="GTiff", height=100, width=140, count=5, dtype="uint8"
        ) as file:
            file.write(bands)
        path.unlink()
    patterns = published.content["preparation"]["splits"]["train"]
    splits = {"train": patterns | {"images": patterns["images"].replace(".jpg", ".tif")}}
    write_published(bands=[3, 2, 1], splits=splits, **WHOLE)
    assert prepare()[0] == 0
    image = np.asarray(Image.open(tmp_path / "root/shore/train/images/a_0.png"))
    assert (image == bands[[2, 1, 0]].transpose(1, 2, 0)).all()
    write_published(bands=[3, 2, 6], splits=splits, **WHOLE)
    shutil.rmtree(tmp_path / "root")
    assert "has 5 bands, band 6 is asked for" in prepare()[2]


def test_unknown_names(load_script, tmp_path, capsys):
    main = import_module("sgovss.commands.prepare").main
    assert main(["lovedaa", "--source", str(tmp_path)]) == 2
    assert "dataset 'lovedaa' is not known; there are loveda" in capsys.readouterr().err
    assert main(["loveda", "--source", str(tmp_path), "--splits", "test"]) == 2
    assert "--splits: loveda has no raw split 'test'" in capsys.readouterr().err
    assert main(["generated_scenes", "--source", str(tmp_path)]) == 2
    assert "generated_scenes: its file has no 'preparation'" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_images(published, write_published, tmp_path):
    """10,000 images take no more memory than 500."""
    write_published({"image_suffix": ".jpg"}, **WHOLE)
    scene = published.source / "train/a"
    peaks = []
    for number in (500, 10_000):
        for part, suffix in (("pictures", "jpg"), ("masks", "png")):
            for n in range(2, number):
                if not (target := scene / part / f"{n}.{suffix}").exists():
                    os.link(scene / part / f"0.{suffix}", target)
        code = (
            "import json, resource, runpy, sys; sys.argv = sys.argv[1:]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit as end: print(json.dumps([end.code, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,"
            " resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
        )
        script = Path(__file__).resolve().parents[2] / "datasets" / "prepare.py"
        argv = [
            str(script),
            str(published.file),
            "--source",
            str(published.source),
            "--root",
            str(tmp_path / str(number)),
        ]
        done = subprocess.run([sys.executable, "-c", code, *argv, "--workers", "2"], capture_output=True, text=True)
        status, own, of_children = json.loads(done.stdout.splitlines()[-1])
        assert status == 0, done.stderr
        peaks.append((own, of_children))
    assert len(list((tmp_path / "10000/shore/train/labels").iterdir())) == 10_002
    # Only the list of files grows, by less than 2 kB an image. The peak of the children includes their parent's at the
    # time of their start.
    for few, many in zip(*peaks, strict=True):
        assert many - few < 2 * 9_500
