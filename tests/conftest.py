"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import yaml
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from hypothesis import HealthCheck, settings
from PIL import Image

from sgovss.data.specification import DatasetSpecification

CHECKOUT = Path(__file__).resolve().parent.parent

pytest_plugins = [
    "tests.fixtures.exports",
    "tests.fixtures.fake_hub",
    "tests.fixtures.published_dataset",
    "tests.fixtures.training_command",
    "tests.fixtures.wheel",
]

# Tests may be slow on a busy machine.
settings.register_profile("patient", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout the tests run from."""
    return CHECKOUT


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Import a script of the checkout, such as ``tools/demo_main_job.py``, without running it."""

    def load(path: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"script_{Path(path).stem}", CHECKOUT / path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up by name
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real aerial datasets; the test is skipped if there is none."""
    folder = Path(os.environ.get("SGOVSS_REAL_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"needs the real images: no folder {folder} (or name another in SGOVSS_REAL_DATA)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use an empty cache folder: no test depends on earlier runs or writes to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGOVSS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Do not wait until files are on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_yaml() -> Iterator[None]:
    """Let configs be written by the C emitter of PyYAML, if it has one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("yaml.SafeDumper", getattr(yaml, "CSafeDumper", yaml.SafeDumper))
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_look_up() -> Iterator[None]:
    """Let Detectron2's set-up read keys of a config directly. It converts the whole config to another kind for each."""

    def look_up(cfg: CfgNode, *keys: str, default: Any = None) -> Any:
        for key in keys:
            with contextlib.suppress(AttributeError):
                return functools.reduce(getattr, key.split("."), cfg)
        return default

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("detectron2.engine.defaults._try_get_key", look_up)
        yield


@pytest.fixture(scope="session", autouse=True)
def shipped_datasets_read_once() -> Iterator[None]:
    """Let the registration keep the content of the dataset files of sgovss, which each command reads when it starts."""
    from sgovss import paths
    from sgovss.data import registration

    load, kept = registration.load_specification, {}
    shipped = {str(path) for path in paths.dataset_files()}

    def load_once(path: str | Path) -> DatasetSpecification:
        name = str(path)
        if name not in shipped:
            return load(path)
        if name not in kept:
            kept[name] = load(path)
        return kept[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registration, "load_specification", load_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def shipped_configs_read_once() -> Iterator[None]:
    """Keep the content of the config files of sgovss, which most tests read."""
    read, kept = CfgNode.load_yaml_with_base, {}

    def read_once(path: str, allow_unsafe: bool = False) -> dict[str, Any]:
        if Path(path).parent.resolve() != CHECKOUT / "configs":
            return read(path, allow_unsafe)
        if path not in kept:
            kept[path] = read(path, allow_unsafe)
        return copy.deepcopy(kept[path])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CfgNode, "load_yaml_with_base", staticmethod(read_once))
        yield


@pytest.fixture(autouse=True)
def catalogs() -> Iterator[None]:
    """Remove the datasets that a test registers."""
    before = set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture(autouse=True)
def heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loggers propagate: commands turn that off, and caplog before pytest 9 needs it."""
    for name in ("sgovss", "detectron2", "fvcore"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)


@pytest.fixture
def fields() -> DatasetSpecification:
    """Three classes with raw values 1|4, 2 and 3, and 0 to ignore."""
    return fields_specification()


def fields_specification() -> DatasetSpecification:
    """See the fixture ``fields``."""
    return DatasetSpecification.model_validate(
        {
            "name": "fields",
            "title": "Fields",
            "source": None,
            "licence": None,
            "citation": None,
            "verified": "unverified",
            "ground_sample_distance": 0.5,
            "classes": [
                {"name": "field", "synonyms": ["farmland"], "color": [9, 9, 0], "value": [1, 4]},
                {"name": "river", "color": [0, 0, 9], "value": 2},
                {"name": "hedge", "color": [0, 9, 0], "value": 3},
            ],
            "ignore": {"values": [0]},
            "splits": {
                "train": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "a_*"},
                "test": {"images": "images", "labels": "labels", "image_suffix": ".jpg", "select": "b_*", "count": 1},
            },
        }
    )


@pytest.fixture
def write_fields(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes the files of the ``fields`` dataset below a root and returns the root."""
    return functools.partial(write_fields_below, tmp_path)


def write_fields_below(
    root: Path, keys: tuple[str, ...] = ("a_0", "a_1", "b_0"), size: tuple[int, int] = (24, 32)
) -> Path:
    """Write the files of the ``fields`` dataset below a root; return the root."""
    folder = root / "fields"
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for key in keys:
        labels = rng.integers(0, 5, size).astype(np.uint8)
        Image.fromarray(np.repeat(labels[..., None] * 60, 3, axis=2)).save(folder / "images" / f"{key}.jpg")
        Image.fromarray(labels).save(folder / "labels" / f"{key}.png")
    return root


@pytest.fixture
def run_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options on top of ``sgovss_tiny.yaml`` for two steps on the ``fields`` dataset, given by its YAML file.

    Evaluations in this process draw no picture, which would take as long as all the rest of them.
    """
    monkeypatch.setattr("sgovss.evaluation.pictures.draw_confusion", lambda *_: None)
    return options_below(tmp_path)


def options_below(root: Path) -> list[str]:
    """Write the ``fields`` dataset below a root; return the options of ``run_options``."""
    content = fields_specification().model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    content |= {"source": None, "licence": None, "citation": None, "root": str(write_fields_below(root))}
    file = root / "fields.yaml"
    file.write_text(yaml.safe_dump(content))
    options = {
        "DATASETS.SPECIFICATIONS": f"('{file}',)",
        "DATASETS.TRAIN": "('fields_train',)",
        "DATASETS.TEST": "('fields_test',)",
        "DATASETS.UNSEEN": "('hedge',)",
        "MODEL.CLIP.WEIGHTS": "random",
        "MODEL.DEVICE": "cpu",
        "INPUT.MIN_SIZE_TRAIN": "(48,)",
        "INPUT.CROP.SIZE": "[32,32]",
        "SOLVER.IMS_PER_BATCH": "2",
        "SOLVER.MAX_ITER": "2",
        "SOLVER.CHECKPOINT_PERIOD": "1000",  # only the end is stored
        "OUTPUT_DIR": str(root / "output"),
    }
    return [part for pair in options.items() for part in pair]
