"""The command ``sgovss``: its subcommands, what they import, and what they say without Detectron2."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sgovss
from sgovss.__main__ import main
from sgovss.allocator import SETTINGS
from sgovss.commands import SUBCOMMANDS, entry_point
from tests.commands.parsers import parser_of

NOT_FOUND = "error: Detectron2 is not installed; run 'sgovss install-detectron2'\n"
WRAPPERS = {
    "train_net.py": "train",
    "demo/demo.py": "segment",
    "demo/app.py": "app",
    "datasets/prepare.py": "prepare",
    "datasets/check.py": "check",
    "tools/export_model.py": "export",
    "tools/convert_weights.py": "convert",
}


def python(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the checkout as its folder."""
    command = [sys.executable, *map(str, arguments)]
    environment = {**os.environ, **SETTINGS, **variables}
    folder = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture
def without_detectron2(tmp_path: Path) -> dict[str, str]:
    """Environment variables of a Python that finds no Detectron2."""
    (tmp_path / "detectron2.py").write_text("raise ModuleNotFoundError(name='detectron2')\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).resolve().parents[2])])}


def test_help_lists_every_subcommand(capsys):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name, subcommand in SUBCOMMANDS.items():
        assert f"  {name} " in printed and subcommand.help in printed
    assert main([]) == 2
    assert capsys.readouterr().err == printed


def test_help_is_fast_and_imports_no_library():
    code = "import sys, sgovss.__main__ as command; command.main(['--help']); print(*sys.modules, file=sys.stderr)"
    loaded = set(python("-c", code).stderr.split())
    assert not loaded & {"torch", "numpy", "detectron2", "yaml", "pydantic", "PIL", "cv2"}
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        assert python("-m", "sgovss", "--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_options_are_written_out(name):
    parser = parser_of(SUBCOMMANDS[name].module)
    for action in parser._actions:
        action.required = False
    options = {option for option in parser._option_string_actions if option.startswith("--")}
    for option in options:
        begun = {option[:-1], option[: len(option) // 2 + 1]} - options - {"--"}
        for abbreviated in begun:
            assert parser.parse_known_args([abbreviated])[1] == [abbreviated]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("segment", ["--no-data", "-3.4e38"]),
        ("segment", ["--no-data", "-inf"]),
        ("segment", ["--bounds", "-3.2,51.1,-3.1,51.2"]),
        ("segment", ["--stretch", "-5..20"]),
        ("segment", ["--stretch", "-.5..20", "--no-data", "-9999"]),
        ("words", ["--ignore", "-9999,255"]),
    ],
)
def test_a_value_may_begin_with_a_minus(name, options, monkeypatch):
    known = parser_of(SUBCOMMANDS[name].module)._option_string_actions
    given = []
    module = importlib.import_module(SUBCOMMANDS[name].module)
    monkeypatch.setattr(module, "main", lambda argv: given.extend(argv) or 0)
    assert main([name, *options, "--opts", "SEED", "-1"]) == 0
    assert given == [f"{a}={b}" for a, b in zip(options[::2], options[1::2], strict=True)] + ["--opts", "SEED", "-1"]
    assert {*options[::2]} <= {*known}


def test_an_abbreviated_option_is_refused(capsys):
    for argv in (["--config-file", "sgovss_tiny.yaml", "--resum"], ["--eval", "SEED", "1"], ["--dry", "--resume"]):
        with pytest.raises(SystemExit) as end:
            main(["train", *argv])
        assert end.value.code == 2
        assert "error: unrecognized arguments: --" in capsys.readouterr().err


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_has_help_with_an_example(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sgovss", name, "--help"])
    for key, value in SETTINGS.items():
        monkeypatch.setenv(key, value)  # or the subcommand train restarts this process
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: sgovss {name} ")
    assert printed.count(f"sgovss {name}") >= 2


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("segmnt", "error: 'segmnt' is not a subcommand of sgovss; did you mean segment?"),
        ("install_detectron2", "error: 'install_detectron2' is not a subcommand of sgovss; did you mean install-det"),
        ("xyz", "error: 'xyz' is not a subcommand of sgovss; the subcommands are segment, words, app, train, prepare,"),
    ],
)
def test_a_mistyped_subcommand_is_one_line(name, line, capsys):
    assert main([name]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(line) and printed.err.count("\n") == 1


def test_python_m_passes_arguments_and_status_on(tmp_path):
    done = python("-m", "sgovss", "check", "no_such_dataset", "--root", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: dataset 'no_such_dataset' is not known")
    assert python("-m", "sgovss", "--version").stdout == f"sgovss {sgovss.__version__}\n"


@pytest.mark.parametrize("script", ["-m sgovss segment", "train_net.py"])
def test_without_detectron2_a_command_prints_one_line(script, without_detectron2):
    done = python(*script.split(), "--config-file", "sgovss_tiny.yaml", **without_detectron2)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", NOT_FOUND)


def test_the_registry_says_who_needs_detectron2(without_detectron2):
    code = (
        "import importlib, sys\n"
        "from sgovss.commands import SUBCOMMANDS, entry_point\n"
        "for name, subcommand in SUBCOMMANDS.items():\n"
        "    if subcommand.needs_detectron2:\n"
        "        assert entry_point(name)([]) == 2\n"
        "    else:\n"
        "        importlib.import_module(subcommand.module)\n"
    )
    done = python("-c", code, **without_detectron2)
    assert done.returncode == 0, done.stderr
    assert done.stderr == NOT_FOUND * sum(subcommand.needs_detectron2 for subcommand in SUBCOMMANDS.values())


def test_the_package_imports_without_detectron2(without_detectron2):
    code = (
        "import sgovss\n"
        "print(len(sgovss.Vocabulary.parse('road, water')))\n"
        "try: sgovss.Predictor\n"
        "except ImportError as error: print(isinstance(error, sgovss.InputError), error)\n"
    )
    assert python("-c", code, **without_detectron2).stdout == f"2\nTrue {NOT_FOUND.removeprefix('error: ')}"


def test_the_package_lists_its_public_names():
    assert dir(sgovss) == sorted(sgovss.__all__)
    assert all(getattr(sgovss, name) is not None for name in dir(sgovss))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sgovss.nothing


def test_vocabularies_need_no_torch():
    code = "import sys, sgovss; sgovss.Vocabulary, sgovss.ClassEntry; print('torch' in sys.modules)"
    assert python("-c", code).stdout == "False\n"


def test_only_training_restarts_its_process(monkeypatch):
    assert [name for name, subcommand in SUBCOMMANDS.items() if subcommand.keeps_freed_memory] == ["train", "evaluate"]
    restarts: list[str] = []
    monkeypatch.setattr("sgovss.commands.keep_freed_memory", lambda: restarts.append("restart"))
    monkeypatch.setattr(sys, "argv", ["sgovss", "--help"])
    for arguments, expected in (((["--help"],), []), ((), ["restart"])):
        with pytest.raises(SystemExit):
            entry_point("train")(*arguments)
        assert restarts == expected


@pytest.mark.parametrize("path", WRAPPERS)
def test_scripts_are_thin(path, load_script, checkout):
    assert len((checkout / path).read_text().splitlines()) <= 10
    with pytest.raises(SystemExit) as end:
        load_script(path).main(["--help"])
    assert end.value.code == 0


def test_version_names_libraries_device_and_extras(capsys):
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    libraries = [importlib.import_module(name).__version__ for name in ("torch", "detectron2", "open_clip")]
    for line, name, version in zip(
        lines, ("sgovss", "torch", "Detectron2", "open_clip"), (sgovss.__version__, *libraries), strict=False
    ):
        assert line == f"{name} {version}"
    assert lines[4].startswith("device: ")
    extras = "tiny geo notebook parquet app cluster hub onnx docs wandb mlflow dev"
    assert {line.split(":")[0] for line in lines[5:]} <= {f"extra {name}" for name in extras.split()}
