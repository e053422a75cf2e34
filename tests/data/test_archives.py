"""Published files are found in folders and archives alike, and named as pairs."""

from __future__ import annotations

import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgovss.data.archives import RawFiles, pattern_problem
from sgovss.errors import InputError


@pytest.fixture
def source(tmp_path):
    for path in (
        "LoveDA/Train/Rural/images_png/7.png",
        "LoveDA/Train/Urban/images_png/8.png",
        "LoveDA/Train/Rural/masks_png/7.png",
        "LoveDA/.cache/Train/Rural/images_png/9.png",
    ):
        file = tmp_path / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    with zipfile.ZipFile(tmp_path / "source" / "LoveDA" / "Val.zip", "w") as archive:
        archive.writestr("Val/Urban/images_png/20.png", "from the archive")
        archive.writestr("__MACOSX/Val/Urban/images_png/._20.png", "a Mac's")
        archive.writestr("Val/Urban/masks_png/20.png", "mask")
    return tmp_path / "source"


def test_braces_name_the_pair(source):
    found = RawFiles(source).find(["Train/{*}/images_png/{*}.png"])
    assert sorted(found) == ["Rural_7", "Urban_8"]
    assert found["Rural_7"].read() == b"LoveDA/Train/Rural/images_png/7.png"


def test_archives_are_folders(source):
    found = RawFiles(source).find(["Val/{*}/images_png/{*}.png"])
    assert list(found) == ["Urban_20"]
    assert found["Urban_20"].read() == b"from the archive"
    assert str(found["Urban_20"]).endswith("Val.zip!Val/Urban/images_png/20.png")


def test_one_archive_may_be_the_source(source):
    assert list(RawFiles(source / "LoveDA" / "Val.zip").find(["Val/{*}/masks_png/{*}.png"])) == ["Urban_20"]


def test_the_names_above_the_source_do_not_count(source):
    """Neither as hidden nor in patterns."""
    hidden = source.rename(source.with_name(".hidden"))
    assert sorted(RawFiles(hidden).find(["Train/{*}/images_png/{*}.png"])) == ["Rural_7", "Urban_8"]
    assert RawFiles(hidden).find([".hidden/LoveDA/Train/Rural/images_png/{*}.png"]) == {}
    archive = source.with_name("plain") / "Val.zip"
    archive.parent.mkdir()
    (hidden / "LoveDA" / "Val.zip").rename(archive)
    assert list(RawFiles(archive).find(["Val/{*}/masks_png/{*}.png"])) == ["Urban_20"]


def test_a_pattern_begins_at_a_folder_name(source):
    assert RawFiles(source).find(["ain/{*}/images_png/{*}.png"]) == {}
    assert len(RawFiles(source).find(["images_png/{?}.png"])) == 2


def test_files_that_match_another_pattern_can_be_left_out(tmp_path):
    for name in ("P1.png", "P1_mask.png"):
        (tmp_path / name).touch()
    assert list(RawFiles(tmp_path).find(["{*}.png"], without=["{*}_mask.png"])) == ["P1"]


def test_two_files_of_one_name_are_told(source):
    with pytest.raises(InputError, match=r"images_png/7.png and .*masks_png/7.png are both '7'; keep one"):
        RawFiles(source).find(["images_png/{*}.png", "masks_png/{*}.png"])


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"--source .*nothing: no such folder or archive"):
        RawFiles(tmp_path / "nothing")


def test_an_archive_that_is_broken(tmp_path):
    (tmp_path / "broken.zip").write_bytes(b"PK, and no more")
    with pytest.raises(InputError, match=r"broken.zip: cannot read this archive \(File is not a zip file\)"):
        RawFiles(tmp_path)


def test_a_member_that_would_fill_memory(tmp_path):
    """Its archive has some hundred bytes."""
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images/1.png", b"small")
    content = bytearray((tmp_path / "bomb.zip").read_bytes())
    said = content.rindex((5).to_bytes(4, "little") + len("images/1.png").to_bytes(2, "little"))
    content[said : said + 4] = (3 * 2**30).to_bytes(4, "little")
    (tmp_path / "bomb.zip").write_bytes(content)
    (file,) = RawFiles(tmp_path).find(["images/{*}.png"]).values()
    with pytest.raises(InputError, match=r"bomb.zip!images/1.png: larger than 2,147,483,648 bytes"):
        file.read()


def test_the_largest_file(source, monkeypatch):
    (file,) = RawFiles(source).find(["Train/Rural/images_png/{*}.png"]).values()
    content = b"LoveDA/Train/Rural/images_png/7.png"
    monkeypatch.setattr("sgovss.data.archives._LARGEST", len(content))
    assert file.read() == content
    monkeypatch.setattr("sgovss.data.archives._LARGEST", len(content) - 1)
    with pytest.raises(InputError, match=r"7\.png: larger than 34 bytes"):
        file.read()


@pytest.mark.parametrize("name", ["../../outside/images/1.png", "/outside/images/1.png", "images/../../1.png"])
def test_a_pair_name_leads_nowhere_else(tmp_path, name):
    """A member's path is only looked at; what is written is named by the part of it in braces, which has no folder."""
    with zipfile.ZipFile(tmp_path / "sly.zip", "w") as archive:
        archive.writestr(name, b"")
    for pattern in ("{*}.png", "images/{*}.png", "{*}/{*}.png", "{*}/{*}/{*}.png"):
        for found in RawFiles(tmp_path).find([pattern]):
            assert "/" not in found


def test_an_archive_in_parts(tmp_path):
    for name in ("images.zip", "images.z01"):
        (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(InputError, match=r"several files; join them \(zip -s 0 'images.zip' --out whole.zip\)"):
        RawFiles(tmp_path)


def test_a_member_that_is_damaged(source):
    file = source / "LoveDA" / "Val.zip"
    file.write_bytes(file.read_bytes().replace(b"from the archive", b"from an archive!"))
    with pytest.raises(InputError, match=r"Val.zip!Val/Urban/images_png/20.png: cannot read this file \(Bad CRC"):
        RawFiles(source).find(["Val/{*}/images_png/{*}.png"])["Urban_20"].read()


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("images/*.png", "no {braces}"),
        ("images/{*.png", "no {braces}"),
        ("images/{*}/{*.png", "not closed"),
        ("{*/*}.png", "one folder or file name"),
        ("images/{*}.png", None),
    ],
)
def test_wrong_patterns_are_told(pattern, problem):
    assert problem is None if pattern_problem(pattern) is None else problem in pattern_problem(pattern)


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_file_name_is_its_own_pair_name(tmp_path_factory, name):
    if name.startswith(".") or name.lower().endswith(".zip") or len(name.encode()) > 200:
        return
    folder = tmp_path_factory.mktemp("names")
    (folder / f"{name}.png").touch()
    assert list(RawFiles(folder).find(["{*}.png"])) == [name]
