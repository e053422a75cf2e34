"""Dataset files, folders and archives."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.robustness.case import Case, refused, works
from tests.robustness.cases.configs import no_trace
from tests.robustness.place import Place


def file(content: bytes | str):
    """Check a dataset whose file has this content."""
    return lambda place: place.check(place.write("fields.yaml", content))


def edited(old: str, new: str):
    """Check a dataset whose file is correct except for one edit."""

    def build(place: Place) -> list[str]:
        path = place.fields()
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))
        return place.check()

    return build


def trap(place: Place) -> list[str]:
    return file(f"name: !!python/object/apply:os.system ['touch {place.folder / 'trace'}']\n")(place)


def doubled(place: Place) -> list[str]:
    """A list of nested aliases that expands to 2 ** 40 items."""
    nested = "&a0 [x, x]"
    for i in range(1, 40):
        nested = f"&a{i} [{nested}, *a{i - 1}]"
    return place.check(place.fields(classes=[]).with_name(place.write("fields.yaml", f"classes: {nested}\n").name))


def without_folder(place: Place) -> list[str]:
    place.fields()
    shutil.rmtree(place.folder / "fields")
    return place.check()


def without_images(place: Place) -> list[str]:
    place.fields()
    for path in (place.folder / "fields").glob("*/b_*"):
        path.unlink()
    return place.check()


def linked_to_itself(place: Place) -> list[str]:
    place.fields()
    for part in ("images", "labels"):
        (place.folder / "fields" / part / "again").symlink_to(place.folder / "fields")
    return place.check()


def archive(place: Place, names: dict[str, bytes]) -> Path:
    """Write an archive of downloads with these members."""
    path = place.folder / "download" / "data.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in names.items():
            target.writestr(name, content)
    return path


def pair(place: Place) -> dict[str, bytes]:
    place.shore()
    return {name: (place.folder / "raw" / name).read_bytes() for name in ("p/0.png", "m/0.png")}


def climbing(place: Place) -> list[str]:
    """Members whose names begin with ``../``."""
    sly = archive(place, {f"../../../elsewhere/{name}": content for name, content in pair(place).items()})
    return place.prepare(place.folder / "shore.yaml", sly.parent)


def absolute(place: Place) -> list[str]:
    sly = archive(place, {f"{place.folder}/elsewhere/{name}": content for name, content in pair(place).items()})
    return place.prepare(place.folder / "shore.yaml", sly.parent)


def nothing_elsewhere(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {"raw", "download", "shore.yaml"}


def only_below_the_root(folder: Path) -> None:
    written = {path.relative_to(folder / "out" / "shore").as_posix() for path in (folder / "out").rglob("*.png")}
    assert written == {"images/0.png", "labels/0.png"}
    assert {path.name for path in folder.iterdir()} == {"raw", "download", "out", "shore.yaml"}


def swollen(place: Place) -> list[str]:
    """A member whose size is 3 GB according to the archive's directory."""
    path = archive(place, pair(place))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as source:
        size = source.getinfo("p/0.png").file_size
    said = content.rindex(size.to_bytes(4, "little") + len("p/0.png").to_bytes(2, "little"))
    content[said : said + 4] = (3 * 2**30).to_bytes(4, "little")
    path.write_bytes(content)
    return place.prepare(place.folder / "shore.yaml", path.parent)


def broken(place: Place) -> list[str]:
    place.shore()
    place.write("download/data.zip", b"PK, and no more")
    return place.prepare(place.folder / "shore.yaml", place.folder / "download")


def turned(name: str):
    """Prepare the shore, or check the fields, with an orientation in this file."""

    def build(place: Place) -> list[str]:
        prepared = name.startswith("raw")
        (place.shore if prepared else place.fields)()
        tags = Image.Exif()
        tags[0x0112] = 6
        with Image.open(place.folder / name) as image:
            pixels = np.asarray(image)
        place.picture(name, pixels, exif=tags.tobytes())
        return place.prepare(place.folder / "shore.yaml") if prepared else place.check()

    return build


def deep(place: Place) -> list[str]:
    place.shore()
    place.picture("raw/p/0.png", np.zeros((24, 32), np.uint16))
    return place.prepare(place.folder / "shore.yaml")


CASES: list[Case] = [
    refused(
        "unknown dataset",
        "check",
        lambda place: place.check("lovda"),
        "dataset 'lovda' is not known; there are loveda…; or give the path of a .yaml file",
    ),
    refused(
        "dataset file that does not exist",
        "check",
        lambda place: place.check("mine.yaml"),
        "mine.yaml: cannot read this dataset file (No such file or directory); correct the path",
    ),
    refused(
        "empty dataset file",
        "check",
        file(""),
        "…/fields.yaml: expected a mapping with name, classes and splits; see datasets/ for examples",
        as_process=True,
    ),
    refused(
        "truncated dataset file",
        "check",
        file("name: fields\nclasses: [{na"),
        "…/fields.yaml:3: not valid YAML (did not find expected …); correct this line",
    ),
    refused(
        "dataset file with bytes that are not text",
        "check",
        file(b"\xff\xfe\x00"),
        "…/fields.yaml: this dataset file is not UTF-8 text; save it as UTF-8",
    ),
    refused(
        "dataset file of 30,000 nested lists",
        "check",
        file("[" * 30_000 + "]" * 30_000),
        "…/fields.yaml:1: nested deeper than any dataset file needs to be",
        as_process=True,
    ),
    refused(
        "dataset file of a few lines that would exceed the memory when expanded",
        "check",
        doubled,
        "…/fields.yaml:1: name: missing key 'name' (and … more)",
    ),
    refused(
        "dataset file with a YAML tag that would run a program (it does not run)",
        "check",
        trap,
        "…/fields.yaml:1: not valid YAML (could not determine a constructor for the tag …); correct this line",
        proves=no_trace,
    ),
    refused(
        "dataset file with a misspelt key",
        "check",
        edited("verified:", "verfied:"),
        "…/fields.yaml:…: verfied: unknown key 'verfied'; did you mean 'verified'?",
    ),
    refused(
        "dataset file with two classes of the same name",
        "check",
        edited("name: hedge", "name: FIELD"),
        "…/fields.yaml:…: classes: fields: 'FIELD' stands twice (in 'field' and 'FIELD'); keep one",
    ),
    refused(
        "dataset file with an output folder outside its root",
        "prepare",
        lambda place: place.prepare(
            place.shore(splits={"train": {"images": "../../../elsewhere", "labels": "labels"}})
        ),
        "…/shore.yaml:…: splits.train.images: '../../../elsewhere' must lie below the dataset's folder, because "
        "files are written there",
    ),
    refused(
        "split that the dataset does not have",
        "check",
        lambda place: [*place.check(place.fields()), "--split", "val"],
        "--split: fields has no split 'val'; there are test, train",
    ),
    refused(
        "dataset whose folder does not exist",
        "train_net",
        lambda place: [without_folder(place) and None, *place.train()][1:],
        "…/fields/images: folder of dataset 'fields' not found; put the data there, or "
        "correct 'root' or the folders of the split in the dataset file",
    ),
    refused(
        "split without images",
        "check",
        without_images,
        "…/fields/images: no image of fields_test here; expected files like b_*.jpg, found files such as a_0.jpg",
        status=1,
    ),
    works(
        "dataset folder with a symbolic link to itself",
        "check",
        linked_to_itself,
        "every pair is counted once",
        lambda folder: None,
    ),
    refused(
        "folder of downloads that does not exist",
        "prepare",
        lambda place: place.prepare(source=place.folder / "nowhere"),
        "--source …/nowhere: no such folder or archive; name the one that holds the downloaded data",
        as_process=True,
    ),
    refused(
        "downloads of another dataset",
        "prepare",
        lambda place: place.prepare(source=archive(place, {"readme.txt": b""}).parent),
        "…/download: no files of shore_train here; expected labels m/{*}.png and images p/{*}.png, in folders or "
        "archives (source of the data: None)",
    ),
    refused(
        "damaged archive",
        "prepare",
        broken,
        "…/data.zip: cannot read this archive (File is not a zip file); get it again from the dataset's source",
    ),
    refused(
        "archive of a few hundred bytes with a member of 3 GB",
        "prepare",
        swollen,
        "…/data.zip!p/0.png: larger than 2,147,483,648 bytes, too large for an image of a dataset; remove it",
        status=1,
    ),
    refused(
        "archive whose member names begin with `../`",
        "prepare",
        climbing,
        "…/download: no files of shore_train here; expected labels m/{*}.png and images p/{*}.png, in folders or "
        "archives (source of the data: None)",
        proves=nothing_elsewhere,
    ),
    works(
        "archive whose member names are absolute paths",
        "prepare",
        absolute,
        "the members are prepared; everything is written below `--root`",
        only_below_the_root,
        as_process=True,
    ),
    refused(
        "photo with an EXIF rotation, and its label",
        "prepare",
        turned("raw/p/0.png"),
        "…/p/0.png: has EXIF orientation 6, so it is shown rotated; rotate its pixels to match the label and remove "
        "the tag, for example with 'mogrify -auto-orient'",
        status=1,
    ),
    refused(
        "mask with an EXIF rotation",
        "prepare",
        turned("raw/m/0.png"),
        "…/m/0.png: has EXIF orientation 6, so it is shown rotated; rotate its pixels to match the image and remove "
        "the tag, for example with PIL.ImageOps.exif_transpose",
        status=1,
    ),
    refused(
        "photo with an EXIF rotation in a prepared dataset",
        "check",
        turned("fields/images/a_0.jpg"),
        "…/images/a_0.jpg: has EXIF orientation 6, so it is shown rotated; rotate its pixels to match the label and …",
        status=1,
    ),
    refused(
        "16-bit training image",
        "prepare",
        deep,
        "…/p/0.png: image of more than 8 bits a channel (…); scale it to 8 bits first, …",
        status=1,
    ),
]
