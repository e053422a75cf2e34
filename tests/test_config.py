"""Configs that come with sgovss are complete, and every key of sgovss is read somewhere."""

from __future__ import annotations

import pytest
import torch
import yaml
from detectron2.config import CfgNode, get_cfg

from sgovss import paths
from sgovss.config import add_sgovss_config, load_config
from sgovss.errors import InputError
from sgovss.modeling.checkpoint import config_of


@pytest.mark.parametrize(
    "path", sorted(paths.config_file("sgovss_tiny.yaml").parent.rglob("*.yaml")), ids=lambda path: path.stem
)
def test_every_config_loads(path):
    assert load_config(path).MODEL.META_ARCHITECTURE == "SGOVSS"


def keys_of(node: CfgNode, prefix: str = "") -> set[str]:
    keys = set()
    for name, value in node.items():
        keys |= keys_of(value, f"{prefix}{name}.") if isinstance(value, CfgNode) else {f"{prefix}{name}"}
    return keys


def test_every_own_key_is_read_and_has_a_comment(checkout):
    cfg = get_cfg()
    theirs = keys_of(cfg)
    add_sgovss_config(cfg)
    own = keys_of(cfg) - theirs
    assert len(own) > 25
    files = [path for path in (checkout / "sgovss").rglob("*.py") if not path.name.startswith("config")]
    code = "\n".join(path.read_text() for path in files)
    assert [key for key in own if f".{key.split('.')[-1]}" not in code] == []
    lines = (checkout / "sgovss" / "config.py").read_text().splitlines()
    for number, line in enumerate(lines):
        name = line.strip().split(" = ")[0].split(".")[-1]
        set_for_detectron2 = line.strip().startswith("cfg.MODEL.")
        if " = " in line and not set_for_detectron2 and any(key.endswith(f".{name}") for key in own):
            above = [text.strip() for text in lines[max(0, number - 2) : number]]
            assert any(text.startswith("#") for text in above), f"{name} has no comment"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["MODEL.SGOVS.HEADS", "4"], "MODEL.SGOVS"),
        (["MODEL.SGOVSS.HEADS", "four"], "HEADS"),
        (["MODEL.SGOVSS.HEADS"], "no value"),
        (["MODEL.SGOVSS.HEADS", "None"], "MODEL.SGOVSS.HEADS: has no value"),
        (["MODEL.SGOVSS.HEADS", "0"], "MODEL.SGOVSS.HEADS: 0 will not do; give a number above 0"),
        (["TEST.PRECISION", "float8"], "TEST.PRECISION: 'float8' will not do; use float32 or bfloat16"),
        (["MODEL.PIXEL_STD", "[1.0,0.0,1.0]"], "MODEL.PIXEL_STD: .* give three numbers"),
        (["MODEL.BACKBONE.NAME", "ResNet"], "MODEL.BACKBONE.NAME: 'ResNet' will not do; nothing of this name"),
        (["MODEL.DEVICE", "gpu"], "MODEL.DEVICE: 'gpu' is no device of torch"),
        (["MODEL.DEVICE", "cuda:99"], "MODEL.DEVICE: 'cuda:99' is not there"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(InputError, match=message) as caught:
        load_config("sgovss_tiny.yaml", options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no config, nor does its _BASE_ name one; expected keys with values"),
        ("- SEED", "no config"),
        ("_BASE_: 5", "no config"),
        ("_BASE_: own.yaml", "does its _BASE_ lead back to itself?"),
        ("_BASE_: absent.yaml", "No such file or directory: '.*absent.yaml'"),
        ("[" * 3000, "nested without end"),
        ("SEED: \x00", "special characters are not allowed"),
        ("VERSION: two", "no config"),
    ],
    ids=["empty", "list", "number as base", "loop", "absent base", "deep", "binary", "version"],
)
def test_wrong_files_are_named(tmp_path, content, message):
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(InputError, match=rf"own\.yaml: .*{message}") as caught:
        load_config(tmp_path / "own.yaml")
    assert "\n" not in str(caught.value)


def test_a_config_runs_no_program(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "own.yaml").write_text(f"OUTPUT_DIR: !!python/object/apply:os.system ['touch {trace}']")
    with pytest.raises(InputError, match="could not determine a constructor for the tag"):
        load_config(tmp_path / "own.yaml")
    assert not trace.exists()


def test_a_checkpoints_config_comes_back(tmp_path):
    cfg = load_config("sgovss_tiny.yaml", ["MODEL.SGOVSS.HEADS", "2"])
    torch.save({"kind": "inference", "model": {}, "config": cfg.dump()}, tmp_path / "x.pth")
    assert yaml.safe_load(config_of(tmp_path / "x.pth").dump()) == yaml.safe_load(cfg.dump())
