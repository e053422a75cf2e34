"""Tar archives are read like zip archives of the same content."""

from __future__ import annotations

import gc
import gzip
import io
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sgovss.data import tar_archives
from sgovss.data.archives import RawFiles
from sgovss.errors import InputError
from sgovss.paths import cache_folder

SUFFIXES = [".tar", ".tar.gz", ".tgz", ".TAR.GZ"]
CONTENT = {"train/images/1.png": b"one", "train/labels/1.png": b"1" * 2000, "train/.hidden/2.png": b"", "top.png": b"x"}
PATTERNS = ["images/{*}.png", "labels/{*}.png", "{*}.png", "{*}/{*}.png", "{*}/{*}/{*}.png"]


def write_tar(path: Path, content: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w:" if path.suffix.lower() == ".tar" else "w:gz", format=format) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def found(source: Path, pattern: str) -> dict[str, bytes] | str:
    """Name to content, or the message that there are two files of one name."""
    files = RawFiles(source)
    try:
        return {name: file.read() for name, file in files.find([pattern]).items()}
    except InputError as error:
        return str(error).replace(source.name, "ARCHIVE")


names = st.lists(st.sampled_from(["a", "b", ".h", "__MACOSX", "..", "ä b", "x" * 60]), min_size=1, max_size=4)
contents = st.dictionaries(names.map(lambda parts: "/".join(parts) + ".png"), st.binary(max_size=700), max_size=5)


@given(
    content=contents,
    suffix=st.sampled_from(SUFFIXES),
    format=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
    pattern=st.sampled_from(PATTERNS),
)
@example(content=CONTENT, suffix=".tar.gz", format=tarfile.USTAR_FORMAT, pattern=PATTERNS[0])
def test_a_tar_gives_what_a_zip_of_the_same_content_gives(tmp_path_factory, content, suffix, format, pattern):
    folder = tmp_path_factory.mktemp("same")
    tar = write_tar(folder / f"data{suffix}", content, format)
    assert found(tar, pattern) == found(write_zip(folder / "data.zip", content), pattern)


def test_folders_links_and_names_from_the_current_folder(tmp_path):
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/images/1.png").write_bytes(b"one")
    (tmp_path / "in/images/2.png").symlink_to("1.png")
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "in", ".")
    file = RawFiles(tmp_path / "data.tar.gz").find(["images/{*}.png"])
    assert list(file) == ["1"]
    assert str(file["1"]).endswith("data.tar.gz!./images/1.png")


def test_a_file_can_be_read_by_another_process(tmp_path):
    import pickle

    files = RawFiles(write_tar(tmp_path / "data.tgz", CONTENT))
    for file in files.find(["{*}/{*}.png"]).values():
        assert pickle.loads(pickle.dumps(file)).read() == CONTENT[file.member]
        assert file.stamp == ((tmp_path / "data.tgz").stat().st_size, (tmp_path / "data.tgz").stat().st_mtime_ns)


def test_a_compressed_archive_is_decompressed_once_and_the_copy_is_deleted(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(tar_archives.gzip, "open", lambda file, open=gzip.open: opened.append(file) or open(file))
    files = RawFiles(write_tar(tmp_path / "data.tar.gz", {f"{i}.png": b"x" * i for i in range(300)}))
    assert sum(len(file.read()) for file in files.find(["{*}.png"]).values()) == sum(range(300))
    assert len(opened) == 1
    assert len(list(cache_folder().glob("unpacked-*/content.tar"))) == 1
    del files
    gc.collect()
    assert not list(cache_folder().glob("unpacked-*"))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@given(data=st.data())
def test_an_archive_cut_anywhere_is_refused_in_one_line(tmp_path_factory, suffix, data):
    path = write_tar(tmp_path_factory.getbasetemp() / f"cut{suffix}", CONTENT)
    # After the last file, a tar has blocks of zeros; the first of them is enough.
    blocks = sum(1 + -(-len(content) // 512) for content in CONTENT.values())
    end = 512 * (blocks + 1) - 1 if suffix == ".tar" else path.stat().st_size - 1
    path.write_bytes(path.read_bytes()[: data.draw(st.integers(0, end))])
    with pytest.raises(InputError, match=r"cut\.tar(\.gz)?: cannot read this archive \(.*get it again") as caught:
        RawFiles(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@given(position=st.floats(0, 1, exclude_max=True), value=st.binary(min_size=1, max_size=20))
def test_damage_anywhere_is_refused_or_harmless(tmp_path_factory, suffix, position, value):
    path = write_tar(tmp_path_factory.getbasetemp() / f"damaged{suffix}", CONTENT)
    content = bytearray(path.read_bytes())
    start = int(position * len(content))
    content[start : start + len(value)] = value
    path.write_bytes(content)
    try:
        for file in RawFiles(path).find(["{*}/{*}.png"]).values():
            file.read()
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK, and no more", gzip.compress(b"", mtime=0), gzip.compress(b"no tar" * 200, mtime=0)],
    ids=["empty", "letters", "empty gz", "gz of no tar"],
)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_what_is_no_archive(tmp_path, suffix, content):
    (tmp_path / f"data{suffix}").write_bytes(content)
    with pytest.raises(InputError, match=r"data\.tar(\.gz)?: cannot read this archive"):
        RawFiles(tmp_path)
    assert not list(cache_folder().glob("unpacked-*"))


def test_a_member_that_is_too_large(tmp_path, monkeypatch):
    files = RawFiles(write_tar(tmp_path / "data.tar.gz", CONTENT))
    monkeypatch.setattr("sgovss.data.archives._LARGEST", 1000)
    with pytest.raises(InputError, match=r"data.tar.gz!train/labels/1.png: larger than 1,000 bytes"):
        files.find(["labels/{*}.png"])["1"].read()


def test_a_disk_without_room(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(2**31, 2**31, 2**30)
    monkeypatch.setattr(tar_archives.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(InputError, match=r"data.tar.gz: no room to decompress it in .*; unpack it to a folder"):
        RawFiles(write_tar(tmp_path / "data.tar.gz", CONTENT))
    assert not list(cache_folder().glob("unpacked-*"))
