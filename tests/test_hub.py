"""What names a model of the hub, and fetching and publishing one, on a hub on loopback."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from sgovss.config import load_config
from sgovss.errors import InputError
from sgovss.hub import HubId, hub_id, local_path, parse_id, publish
from sgovss.modeling.checkpoint import read_checkpoint
from tests.fixtures.fake_hub import FakeHub

MODEL = {"model.safetensors": b"weights", "config.yaml": b"SEED: 1\n", "README.md": b"# mine\n"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("me/mine", HubId("me/mine", None)),
        ("me/mine@v1", HubId("me/mine", "v1")),
        ("me/a.b-c_2@refs/pr/1", HubId("me/a.b-c_2", "refs/pr/1")),
        ("Me-2/mine@0a1b2c", HubId("Me-2/mine", "0a1b2c")),
    ],
)
def test_a_name_of_the_hub(name: str, expected: HubId) -> None:
    assert parse_id(name) == hub_id(name) == expected


@pytest.mark.parametrize(
    "name",
    [
        *("model", "model.pth", "output/model_final.pth", "protocols/ovrs_dlrsd.yaml", "me/mine.safetensors", "a/b/c"),
        *("/me/mine", "./me/mine", "../me/mine", "~/mine", "me/mine/", "me/mine@", "me@v1/mine", "me/my model"),
        *("é/mine", "", "/", "https://host/me/mine", "C:\\me\\mine", "me/mine@-x", "-me/mine", "me/a.ONNX"),
    ],
)  # fmt: skip
def test_a_name_of_a_path(name: str) -> None:
    assert parse_id(name) is None and local_path(name) == Path(name)
    with pytest.raises(InputError, match="is no model of the hub; give owner/name or owner/name@revision"):
        hub_id(name)


def test_an_existing_path_wins(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_hub.add("me/mine", MODEL)
    monkeypatch.chdir(tmp_path)
    fetched = local_path("me/mine")
    assert fetched.is_relative_to(tmp_path / "hub_cache")
    for name in ("me/mine", "me/mine@v1"):
        Path(name).mkdir(parents=True)
        assert parse_id(name) is None and local_path(name) == Path(name)
    Path("me/file").touch()
    assert local_path("me/file") == Path("me/file")


def test_the_revision_that_is_asked_for_is_fetched_and_no_other_file(fake_hub: FakeHub) -> None:
    first = fake_hub.add("me/mine", {**MODEL, "pickle.bin": b"evil", "extra.py": b"code"}, "v1")
    fake_hub.add("me/mine", {**MODEL, "config.yaml": b"SEED: 2\n"}, "main", "next")
    for name, seed in (("me/mine@v1", "1"), (f"me/mine@{first}", "1"), ("me/mine", "2"), ("me/mine@next", "2")):
        folder = local_path(name)
        assert (folder / "config.yaml").read_text() == f"SEED: {seed}\n"
        assert {path.name for path in folder.iterdir()} == MODEL.keys()


def test_a_process_sees_one_commit(fake_hub: FakeHub) -> None:
    fake_hub.add("me/mine", MODEL)
    folder = local_path("me/mine")
    fake_hub.add("me/mine", {**MODEL, "config.yaml": b"SEED: 2\n"})
    assert local_path("me/mine") == folder


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("me/mine@v9", r"me/mine@v9: no file or folder here, and the model 'me/mine' has no revision 'v9'"),
        ("me/none", r"me/none: no file or folder here, and no such model on http://127.*correct the name, or log in"),
        ("output/modle", r"output/modle: no file or folder here, and no such model on http://127"),
        ("me/a..b", r"me/a..b: no file or folder here.*HFValidationError"),
    ],
)
def test_what_the_hub_does_not_have_is_one_line(fake_hub: FakeHub, name: str, told: str) -> None:
    fake_hub.add("me/mine", MODEL)
    for use, start in ((local_path, ""), (load_config, ""), (read_checkpoint, "MODEL.WEIGHTS: ")):
        with pytest.raises(InputError, match=f"^{start}{told}") as caught:
            use(name)
        assert "\n" not in str(caught.value)


def test_offline_is_one_line_unless_the_model_is_in_the_cache(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from sgovss.hub import fetch

    fake_hub.add("me/mine", MODEL)
    folder = local_path("me/mine")
    fetch.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(fake_hub.requests)
    assert local_path("me/mine") == folder
    with pytest.raises(InputError, match=r"me/other: .* is not asked, because HF_HUB_OFFLINE is set; correct the path"):
        local_path("me/other")
    with pytest.raises(InputError, match=r"push_to_hub: me/mine: .* because HF_HUB_OFFLINE is set; log in"):
        publish(folder, hub_id("me/mine"), private=False)
    assert len(fake_hub.requests) == asked


def test_without_network_is_one_line_unless_the_model_is_in_the_cache(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    from sgovss.hub import fetch

    fake_hub.add("me/mine", MODEL)
    folder = local_path("me/mine")
    fetch.cache_clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    assert local_path("me/mine") == folder
    with pytest.raises(InputError, match=r"me/other: .* http://127.0.0.1:9 gives no answer \(.*copy its folder here"):
        local_path("me/other")


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_refusal_is_one_line(fake_hub: FakeHub, tmp_path: Path, status: int) -> None:
    fake_hub.status = status
    for use in (lambda: local_path("me/mine"), lambda: publish(tmp_path, hub_id("me/mine"), private=False)):
        with pytest.raises(InputError, match=r"127\.0\.0\.1.*(log in|fetch the model once)") as caught:
            use()
        assert "\n" not in str(caught.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for name in ("me/another", "output/model_final", "weights/mine@v1"):
        told = rf"^{name}: no file or folder here; correct the path, or .*'hub': pip install 'sgovss\[hub\]'"
        with pytest.raises(InputError, match=told):
            local_path(name)


def test_a_folder_is_published_without_other_files(fake_hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in {**MODEL, "secret.txt": b"mine"}.items():
        (folder / name).write_bytes(content)
    address = publish(folder, hub_id("me/new"), private=True)
    found = fake_hub.files("me/new", "main")
    assert found is not None and found[1] == MODEL
    assert address == f"{fake_hub.address}/me/new/commit/{found[0]}"
    (folder / "README.md").write_text("# other\n")
    publish(folder, hub_id("me/new@next"), private=False)
    assert fake_hub.files("me/new", "main") == found
    assert (local_path("me/new@next") / "README.md").read_text() == "# other\n"


def test_a_hub_model_without_weights_is_one_line(fake_hub: FakeHub) -> None:
    fake_hub.add("me/card", {"README.md": b"# card\n"})
    with pytest.raises(InputError, match=r"has no model.safetensors"):
        read_checkpoint("me/card")
    with pytest.raises(InputError, match=r"me/card: a folder without config.yaml; give a config or a model folder"):
        load_config("me/card")


NOT_VALID = "Invalid metadata in README.md.\n- the licence must be one of [mit]"


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        (
            NOT_VALID,
            r"refuses the model \(Invalid metadata in README.md. - the licence must .*\); change what it names",
        ),
        (None, r"answers with status 403 \(You are no member of me\); log in with"),
    ],
)
def test_a_refused_upload_says_why(
    fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, refused: str | None, told: str
) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    fake_hub.add("me/mine", MODEL)
    folder = local_path("me/mine")

    def refuse(self: object, *args: object, **options: object) -> None:
        if refused is not None:
            raise ValueError(refused)
        response = SimpleNamespace(status_code=403, headers={}, request=None)
        raise HfHubHTTPError("403", response=response, server_message="You are no member\nof me")  # type: ignore

    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    monkeypatch.setattr(HfApi, "create_repo", lambda *args, **options: None)
    with pytest.raises(InputError, match=told):
        publish(folder, hub_id("me/mine"), private=False)
