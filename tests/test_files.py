"""Files are whole or absent."""

import json

import pytest

from sgovss.errors import InputError
from sgovss.files import atomic_path, write_json_atomically


def test_json_round_trip_creates_folders(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_json_atomically(path, {"name": "Straße", "value": None})
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "Straße", "value": None}


def test_an_interrupted_write_keeps_the_old_file_and_leaves_nothing(tmp_path):
    path = tmp_path / "numbers.json"
    write_json_atomically(path, [1])
    with pytest.raises(ValueError, match="Out of range"):
        write_json_atomically(path, [2, float("nan")])
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert json.loads(path.read_text()) == [1]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write here"):
        write_json_atomically(tmp_path / "file" / "x.json", {})
