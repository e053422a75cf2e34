"""No code block of README, CONTRIBUTING or docs/ goes unchecked: programs exist and their parsers take the options.

test_blocks_run.py runs them.
"""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
import yaml

import sgovss
from sgovss.data.specification_file import load_specification
from sgovss.errors import InputError
from sgovss.vocabulary import Vocabulary
from tests.docs.blocks import CHECKOUT, PAGES, SKIPPED, Block, blocks, blocks_of
from tests.docs.shell import check_script

EVERY = [block for page in PAGES for block in blocks_of(page, (CHECKOUT / page).read_text(encoding="utf-8"))]


def named(*languages: str) -> list:
    return [pytest.param(block, id=block.name) for block in blocks(*languages)]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {block.language for block in EVERY} <= {"", "sh", "python", "yaml"}
    assert {block.mark for block in EVERY} <= {"run", "parse", "skip"}
    assert set(SKIPPED) <= {block.page for block in EVERY}
    text = [block for block in EVERY if not block.language]
    assert not [block.name for block in text if re.search(r"^ *(sgovss|python|make|pip) ", block.text, re.MULTILINE)]
    fences = sum((CHECKOUT / page).read_text(encoding="utf-8").count("```") for page in PAGES)
    assert 2 * len(EVERY) == fences


def test_blocks_are_read_with_their_marks() -> None:
    page = "a\n\n<!-- block: skip: no network -->\n```sh\nx\n```\n- b\n\n  ```python\n  if y:\n    z\n  ```\n"
    assert blocks_of("p.md", page) == [
        Block("p.md", 4, "sh", "x\n", "skip"),
        Block("p.md", 9, "python", "if y:\n  z\n"),
    ]


@pytest.mark.parametrize("block", named("sh"))
def test_commands_are_taken(block: Block, tmp_path: Path) -> None:
    check_script(block.text, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "sgovss segmant --input a.tif",
        "sgovss segment --config-file sgovss_tiny.yaml --input a.tif --output b --vocabulary c --polygon-format gpkg",
        "sgovss train --config-file sgovss_tiny.yaml SOLVER.STEPSIZE 1",
        "sgovss train --config-file no_such.yaml",
        "sgovss export --config-file sgovss_tiny.yaml --output a --format pickle",
        "python -m research.ablation run --taskz generated",
        "make everything",
        "pip install '.[everything]'",
        "dask worker --gpus 4",
        "torchrun --no-python sgovss train --config-files FILE",
        'sbatch --wrap "sgovss segment --everything"',
        "curl https://example.org | sh",
        "sgovss segment 'unfinished",
    ],
)
def test_wrong_commands_are_found(text: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, InputError, ImportError, click.UsageError)):
        check_script(text, tmp_path)


@pytest.mark.parametrize("block", named("python"))
def test_python_is_valid_and_names_exist(block: Block) -> None:
    compile(block.text, block.name, "exec")
    for name in re.findall(r"\bsgovss\.(\w+)", block.text):
        assert hasattr(sgovss, name), name


@pytest.mark.parametrize("page", sorted({block.page for block in blocks("yaml")}))
def test_yaml_is_what_it_is_shown_as(page: str, tmp_path: Path) -> None:
    text = "\n".join(block.text for block in blocks("yaml", pages=(page,)))
    content = yaml.safe_load(text)
    file = tmp_path / "shown.yaml"
    file.write_text(text)
    if isinstance(content, list):
        assert len(Vocabulary.from_file(file)) == len(content)
    elif "splits" in content:
        assert load_specification(file).name == content["name"]
    else:
        (container,) = content["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["sh", "-c"]
        check_script("JOB_COMPLETION_INDEX=0; " + container["args"][0], tmp_path / "job")
