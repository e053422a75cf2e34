"""'sgovss segment' with the options of several processes."""

from __future__ import annotations

import argparse
import importlib.util
from importlib import import_module

import pytest
from PIL import Image

from sgovss.errors import InputError
from sgovss.mapping.shares import Share, parse_share
from sgovss.synthetic import generate_image

segment = import_module("sgovss.commands.segment")
SLURM = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_COUNT": "4"}


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command on a photograph; returns status and errors."""
    Image.fromarray(generate_image(1, size=64, style="b").image).save(tmp_path / "a.png")
    argv = ["--config-file", "sgovss_tiny.yaml", "--input", tmp_path / "a.png", "--vocabulary", "road, tree"]

    def call(*options: object) -> tuple[int, str]:
        status = segment.main([*map(str, [*argv, "--output", tmp_path / "out", *options])])
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--processes", "2"],
            "--processes: this option was removed; give --workers N for this machine, --scheduler URL",
        ),
        (["--num-machines", "2"], "--num-machines: this option was removed"),
        (["--machine-rank", "1"], "--machine-rank: this option was removed"),
        (["--dist-url", "tcp://127.0.0.1:29790"], "--dist-url: this option was removed"),
        (["--workers", "0"], "--workers 0: give the number of processes, 1 or more"),
        (["--workers", "-1"], "--workers -1: give the number of processes, 1 or more"),
        (["--scheduler", "host"], "--scheduler host: not an address; give one such as tcp://host:8786"),
        (["--scheduler", "tcp://host"], "--scheduler tcp://host: not an address"),
        (["--scheduler", "tcp://host:many"], "--scheduler tcp://host:many: not an address"),
        (["--shared-folder", "no"], "--shared-folder no: is for --scheduler"),
        (["--workers", "2", "--shared-folder", "no"], "--shared-folder no: is for --scheduler"),
        (["--share", "0/3"], "--share 0/3: give I/N with I from 1 to N, such as 1/8"),
        (["--share", "4/3"], "--share 4/3: give I/N with I from 1 to N"),
        (["--share", "half"], "--share half: is not I/N, such as 1/8"),
        (
            ["--share", "1/2", "--restart"],
            "--share and --restart exclude each other, because it would remove what other shares have filled",
        ),
        (
            ["--finish", "--restart"],
            "--finish and --restart exclude each other, because it would remove what other shares have filled",
        ),
    ],
)
def test_wrong_options_end_in_one_line(run, tmp_path, options, message):
    status, errors = run(*options)
    assert status == 2
    assert errors.startswith(f"error: {message}") and errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:8786"]])
def test_without_the_extra_the_remedy_is_told(run, monkeypatch, options):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "distributed" else find(name))
    assert run(*options) == (2, f"error: {options[0]}: needs further libraries: pip install 'sgovss[cluster]'\n")


@pytest.mark.parametrize("options", [["--workers", "1"], ["--finish"]])
def test_photographs_are_segmented_by_this_process(run, tmp_path, options):
    status, errors = run(*options, "--opts", "MODEL.DEVICE", "cpu")
    assert status == 0
    assert "photographs: 1, segmented in this process one by one" in errors
    assert (tmp_path / "out/a_labels.png").is_file()


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        (SLURM, Share(3, 4)),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "3"}, Share(1, 4)),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_STEP": "2"}, Share(3, 4)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}, Share(1, 8)),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "7", "AWS_BATCH_JOB_ARRAY_SIZE": "8"}, Share(8, 8)),
    ],
)
def test_the_share_of_a_job_array(environment, share):
    assert parse_share("array", environment) == share


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "this is no job of an array of Slurm or AWS Batch"),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "0"}, "this is no job of an array of Slurm or AWS Batch"),
        ({**SLURM, "SLURM_ARRAY_TASK_COUNT": "many"}, "this is no job of an array of Slurm or AWS Batch"),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "9"}, "the numbers of the array have gaps"),
        ({**SLURM, "SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_STEP": "2"}, "the numbers of the array have gaps"),
    ],
)
def test_an_environment_that_is_no_job_array(environment, message):
    with pytest.raises(InputError, match=message):
        parse_share("array", environment)


@pytest.mark.parametrize("argv", [["--share"], ["--share", "2/3"]])
def test_share_takes_a_value_or_none(argv):
    parser = argparse.ArgumentParser()
    import_module("sgovss.commands.segment_several").add_several_arguments(parser)
    assert parser.parse_args(argv).share == (argv[1] if argv[1:] else "array")


def test_a_damaged_photograph_is_one_failed_image(run, tmp_path):
    (tmp_path / "c.jpg").write_bytes(b"no image")
    status, errors = run("--finish", "--input", tmp_path / "a.png", tmp_path / "c.jpg", "--opts", "MODEL.DEVICE", "cpu")
    assert status == 1
    assert "c.jpg" in errors and "1 of 2 images failed" in errors
    assert (tmp_path / "out" / "a_labels.png").is_file() and (tmp_path / "out" / "report.html").is_file()
