"""The wheel, the extras, and the tools that set the environment up."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

LoadScript = Callable[[str], ModuleType]


def test_wheel_has_all_that_the_package_reads(packed_source: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assets = [file for file in (packed_source / "sgovss" / "assets").rglob("*") if file.is_file()]
    for file in [*(packed_source / "sgovss").rglob("*.py"), *assets]:
        assert file.relative_to(packed_source).as_posix() in names
    for file in [*(packed_source / "configs").rglob("*.yaml"), *(packed_source / "datasets").rglob("*.yaml")]:
        assert f"sgovss/{file.relative_to(packed_source).as_posix()}" in names
    assert {"sgovss/configs/protocols/extra_protocol.yaml", "sgovss/datasets/extra_lakes.yaml"} <= names
    assert "sgovss/py.typed" in names


def test_wheel_has_nothing_else(wheel: Path) -> None:
    """Neither research, tools and tests nor the scripts of the checkout, at any depth."""
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"sgovss"}
    parts = {part for name in names for part in name.split("/")}
    assert not {"research", "tests", "tools", "demo", "train_net.py"} & parts
    assert not [name for name in names if name.startswith("sgovss/datasets/") and not name.endswith(".yaml")]
    assert sum(name.endswith(("licenses/LICENSE", "licenses/NOTICE")) for name in names) == 2


def test_installed_wheel_finds_its_data(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--target", site, wheel], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "from sgovss.paths import config_file, dataset_files\n"
        "print(config_file('protocols/extra_protocol.yaml'))\n"
        "print(*(path for path in dataset_files() if path.name == 'extra_lakes.yaml'))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    configs, datasets = site / "sgovss" / "configs", site / "sgovss" / "datasets"
    assert found.stdout.split() == [str(configs / "protocols/extra_protocol.yaml"), str(datasets / "extra_lakes.yaml")]


def test_metadata_names_version_licence_and_extras(wheel: Path) -> None:
    (metadata,) = importlib.metadata.distributions(name="sgovss", path=[str(wheel)])
    assert metadata.version == wheel.name.split("-")[1]
    assert "Apache-2.0" in (metadata.metadata.get("License-Expression") or metadata.metadata.get("License"))
    extras = {"tiny", "geo", "app", "cluster", "parquet", "onnx", "dev", "all", "wandb", "mlflow"}
    assert extras <= set(metadata.metadata.get_all("Provides-Extra"))
    assert [(entry.name, entry.value) for entry in metadata.entry_points] == [("sgovss", "sgovss.__main__:main")]


def test_all_is_the_union_of_the_extras_but_the_trackers(wheel: Path) -> None:
    (metadata,) = importlib.metadata.distributions(name="sgovss", path=[str(wheel)])
    requirements = [Requirement(text) for text in metadata.requires]
    optional = [requirement for requirement in requirements if requirement.marker is not None]
    by_extra = {
        extra: {item.name for item in optional if item.marker.evaluate({"extra": extra})}
        for extra in metadata.metadata.get_all("Provides-Extra")
    }
    whole = by_extra.pop("all")
    trackers = {"wandb", "mlflow-skinny"}
    assert by_extra.pop("wandb") | by_extra.pop("mlflow") == trackers
    assert not whole & trackers
    assert whole == set().union(*by_extra.values())
    assert all(by_extra.values())


def test_requirements_cover_those_of_detectron2(wheel: Path) -> None:
    """Detectron2 is installed without its dependencies, so sgovss must require all of them."""
    owners = importlib.metadata.packages_distributions().get("detectron2")
    if not owners:
        pytest.skip("the Detectron2 here is a plain checkout, without a list of its dependencies")
    (metadata,) = importlib.metadata.distributions(name="sgovss", path=[str(wheel)])
    named = {Requirement(text).name.lower() for text in metadata.requires if "extra ==" not in text}
    wanted = {
        Requirement(text).name.lower()
        for text in importlib.metadata.requires(owners[0])
        if Requirement(text).marker is None
    }
    assert wanted - {"black"} <= named  # black only formats configs written by hand in LazyConfig.to_py


def test_strip_removes_what_is_foreign_and_keeps_the_rest(load_script: LoadScript, tmp_path: Path) -> None:
    for name in ("detectron2/_C.cpython-310-x86_64-linux-gnu.so", "detectron2/_C_like.py", "detectron2/config/a.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "__init__.py").touch()
    (tmp_path / "sal_detectron2-0.7.2.dist-info").mkdir()
    tool = import_module("sgovss.commands.install_detectron2")

    tool.strip(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"detectron2/_C_like.py", "detectron2/config/a.py"}

    site = tmp_path / "site"
    site.mkdir()
    tool.move(tmp_path, site)
    assert {path.name for path in site.iterdir()} == {"detectron2", "sal_detectron2-0.7.2.dist-info"}


def test_detectron2_of_ones_own_is_kept(
    load_script: LoadScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "detectron2"
    (package / "config").mkdir(parents=True)
    (package / "__init__.py").write_text("__version__ = '9.9'\n")
    (package / "config" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    tool = import_module("sgovss.commands.install_detectron2")
    monkeypatch.setattr(tool, "download", lambda target: pytest.fail("downloaded although one is there"))

    assert tool.main([]) == 0
    assert capsys.readouterr().out == f"Detectron2 9.9 in {package} is kept\n"

    (package / "config" / "__init__.py").write_text("import no_such_module\n")
    assert tool.main([]) == 2
    assert "No module named 'no_such_module'" in capsys.readouterr().err


def test_a_checkout_of_detectron2_is_used_where_it_stands(load_script: LoadScript, tmp_path: Path) -> None:
    """As ``make setup SITE_PACKAGES=its/folder`` does with a clone of its repository, in a fresh environment."""
    clone = tmp_path / "clone"
    (clone / "detectron2" / "config").mkdir(parents=True)
    (clone / "setup.py").write_text("raise SystemExit('a clone is not installed')\n")
    (clone / "detectron2" / "__init__.py").write_text("__version__ = '0.6'\n")
    (clone / "detectron2" / "config" / "__init__.py").touch()
    venv.create(tmp_path / "environment", with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"

    load_script("tools/setup_environment.py").use_packages(python, str(clone))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    installer = [python, "-m", "sgovss", "install-detectron2"]
    checkout = Path(__file__).parent.parent
    done = subprocess.run(installer, cwd=checkout, capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == f"Detectron2 0.6 in {clone / 'detectron2'} is kept\n"


def test_setup_refuses_an_old_python_in_one_line(load_script: LoadScript, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_script("tools/setup_environment.py")
    monkeypatch.setattr(tool.sys, "version_info", (3, 9, 18))
    with pytest.raises(tool.SetupError, match=r"needs Python 3\.10 or newer, this is 3\.9"):
        tool.check_python()


def test_setup_tells_how_to_get_ensurepip(load_script: LoadScript, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_script("tools/setup_environment.py")
    monkeypatch.setattr(tool.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tool.SetupError, match=r"apt install python3\.\d+-venv"):
        tool.check_python()


def test_setup_refuses_a_folder_without_torch_or_detectron2(load_script: LoadScript, tmp_path: Path) -> None:
    tool = load_script("tools/setup_environment.py")
    with pytest.raises(tool.SetupError, match="no torch and no detectron2"):
        tool.use_packages(Path(sys.executable), str(tmp_path))


@pytest.mark.parametrize("headless_works", [True, False])
def test_setup_falls_back_to_headless_opencv(
    load_script: LoadScript, monkeypatch: pytest.MonkeyPatch, headless_works: bool
) -> None:
    """Both install the folder cv2, so one must be uninstalled first, even if pip has the other one cached."""
    tool = load_script("tools/setup_environment.py")
    steps: list[str] = []

    def run(python: Path, *arguments: str, quiet: bool = False) -> int:
        if arguments == ("-c", "import cv2"):
            return 0 if headless_works and len(steps) == 2 else 1
        steps.append(" ".join(arguments))
        return 0

    monkeypatch.setattr(tool, "_run", run)
    monkeypatch.setattr(tool, "_output", lambda python, code: "5.0.0")
    if headless_works:
        tool.ensure_opencv(Path(sys.executable))
    else:
        with pytest.raises(tool.SetupError, match="apt install libgl1"):
            tool.ensure_opencv(Path(sys.executable))
    assert steps[0].endswith("uninstall --yes opencv-python")
    assert steps[1].endswith("--force-reinstall opencv-python-headless==5.0.0")


@pytest.mark.parametrize("lines", [0, 2])
def test_setup_shows_that_pip_is_working(
    load_script: LoadScript,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    lines: int,
) -> None:
    """Where pip's own progress is not shown, which is not on a terminal."""
    tool = load_script("tools/setup_environment.py")
    monkeypatch.setattr(tool, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(tool, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(tool, "HEARTBEAT", 0.5 if lines else 60.0)
    pip = tmp_path / "pip"
    pip.write_text(f"#!/bin/sh\ntruncate -s 200000000 $TMPDIR/torch.whl; sleep {0.6 * lines}; exit 3\n")
    pip.chmod(0o755)

    assert tool._pip_install(pip, "torch") == 3
    shown = re.findall(r"^\[ *\d+ s\] pip is working: (0\.\d) GB in (.*) \.\.\.$", capfd.readouterr().out, re.MULTILINE)
    assert (len(shown) >= 1) == bool(lines)
    assert set(shown) <= {("0.2", str(tmp_path))}
    assert not (tmp_path / "downloads").exists()


def test_setup_names_its_phases(
    load_script: LoadScript, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = load_script("tools/setup_environment.py")
    monkeypatch.setattr(tool, "_pip_install", lambda *arguments: 0)
    monkeypatch.setattr(tool, "_run", lambda *arguments, quiet=False: 0)
    monkeypatch.setattr(tool, "create_environment", lambda: Path("python"))
    monkeypatch.setattr(sys, "argv", ["setup_environment.py"])
    assert tool.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(re.match(r"\[ *\d+ s\] ", line) for line in lines)
    assert [line.split("] ")[1] for line in lines] == [
        "updating pip ...",
        "installing torch and the other requirements (only those that are missing) ...",
        "installing Detectron2 ...",
        "ready: python",
    ]
