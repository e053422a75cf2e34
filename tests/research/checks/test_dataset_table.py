"""datasets/README.md: its table is that of the files, and its examples are valid dataset files."""

import re

import yaml

from sgovss.data.specification_file import load_specification


def test_the_examples_are_valid_dataset_files(checkout, tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", (checkout / "datasets" / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(examples) == 2
    for example in examples:
        path = tmp_path / "example.yaml"
        path.write_text(example)
        assert load_specification(path).name == yaml.safe_load(example)["name"]
