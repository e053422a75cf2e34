"""Processes that torchrun or srun started: what they read from the environment, and that they train as one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import nullcontext

import pytest

import train_net
from sgovss.engine.launch_options import LaunchOptions, resolve
from sgovss.engine.launched import first_host, launched_process
from sgovss.engine.preparation import argument_parser, prepare_config
from sgovss.errors import InputError
from tests.engine.test_distributed import assert_close
from tests.engine.training import CONFIG, metrics_of, options_of

TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "9",
}  # fmt: skip
SRUN = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_STEP_NODELIST": "gpu[07-08]", "SLURM_JOB_ID": "41", "SLURM_STEP_ID": "1",
}  # fmt: skip
SILENT = LaunchOptions(1, 1, 0, "auto")


@pytest.fixture
def known_hosts(monkeypatch):
    """Every host name is known."""

    def here(host: str, port: int, **_: object) -> list[tuple]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", here)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_processes_of_torchrun_and_srun():
    assert launched_process(TORCHRUN) == ("torchrun", 5, 8, 1, 4, "env://")
    assert launched_process(SRUN) == ("srun", 5, 8, 1, 4, "tcp://gpu07:15042")
    assert launched_process({**SRUN, "MASTER_ADDR": "boss", "MASTER_PORT": "77"}).url == "tcp://boss:77"
    assert launched_process({**SRUN, **TORCHRUN}).by == "torchrun"  # srun started torchrun


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0"},
        {**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1"},  # an interactive shell
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "41"},  # in a batch script
        {"MASTER_ADDR": "a", "MASTER_PORT": "9"},
    ],
)
def test_a_process_by_itself(environment):
    assert launched_process(environment) is None
    assert resolve(SILENT, environment) == (SILENT, None)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node01", "node01"),
        ("node[01-03,07],other", "node01"),
        ("gpu-a[3,5]", "gpu-a3"),
        ("r[1-2]n[05-09]", "r1n05"),
        ("n[001-100]-ib,m2", "n001-ib"),
        ("a,b[1-2]", "a"),
    ],
)
def test_the_first_host_of_a_node_list(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({**TORCHRUN, "RANK": "one"}, "RANK: 'one' is not a number"),
        ({**TORCHRUN, "RANK": "8", "LOCAL_RANK": "0"}, "torchrun: process 8 of 8, 0 of 4 here, is impossible"),
        ({**TORCHRUN, "LOCAL_RANK": "2"}, "torchrun: the processes are not in blocks of 4 a machine"),
        ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "5,3"}, "srun: 5,3 processes on the machines; start equally many"),
        ({**SRUN, "SLURM_LOCALID": "2"}, "--distribution block"),  # cyclic
        ({**SRUN, "SLURM_STEP_NODELIST": ","}, "SLURM_STEP_NODELIST ',': no node in it"),
    ],
)
def test_an_environment_that_cannot_be(environment, message):
    with pytest.raises(InputError, match=message):
        launched_process(environment)


@pytest.mark.parametrize(
    ("environment", "absent"),
    [
        ({"RANK": "1", "WORLD_SIZE": "2"}, "LOCAL_RANK"),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, "LOCAL_WORLD_SIZE"),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, "RANK"),
    ],
)
def test_half_an_environment_is_refused_unless_the_options_say_what_to_do(environment, absent):
    with pytest.raises(InputError, match=f"but no {absent}; start with torchrun"):
        resolve(SILENT, environment)
    assert resolve(LaunchOptions(2, 1, 0, "auto"), environment)[1] is None


@pytest.mark.parametrize("environment", [TORCHRUN, SRUN])
@pytest.mark.parametrize("given", [SILENT, LaunchOptions(0, 1, 0, "auto"), LaunchOptions(4, 2, 1, "auto")])
def test_options_that_are_silent_or_agree(known_hosts, environment, given):
    options, launched = resolve(given, environment)
    assert options == (4, 2, 1, launched.url)


@pytest.mark.parametrize(
    ("environment", "given", "message"),
    [
        (TORCHRUN, (2, 1, 0, "auto"), "--num-gpus 2: torchrun started this run, and it would be 4; leave out"),
        (TORCHRUN, (1, 4, 0, "auto"), "--num-machines 4: torchrun started this run, and it would be 2"),
        (TORCHRUN, (1, 2, 3, "auto"), "--machine-rank 3: torchrun started this run, and it would be 1"),
        (TORCHRUN, (1, 1, 0, "tcp://b:1"), "--dist-url tcp://b:1: torchrun sets where its processes meet"),
        (SRUN, (8, 1, 0, "auto"), "--num-gpus 8: srun started this run, and it would be 4"),
        (SRUN, (1, 1, 0, "nonsense"), "--dist-url nonsense: not an address"),
        (SRUN, (1, 1, 0, "tcp://no-such-host.invalid:29"), "the host 'no-such-host.invalid' is not known"),
    ],
)
def test_options_that_contradict_the_launcher(environment, given, message):
    with pytest.raises(InputError, match=message):
        resolve(LaunchOptions(*given), environment)


def test_one_process_of_srun_on_each_machine_may_start_those_of_its_machine(known_hosts):
    """With the options of Detectron2, as before the variables of srun were read."""
    environment = {**SRUN, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_PROCID": "1"}
    given = LaunchOptions(4, 2, 1, "tcp://gpu07:29500")
    assert resolve(given, environment | {"SLURM_LOCALID": "0"}) == (given, None)


@pytest.mark.parametrize(
    ("by", "visible", "gpu"), [("torchrun", 4, 1), ("torchrun", 8, 1), ("srun", 4, 1), ("srun", 1, 0)]
)
def test_the_gpu_of_a_process(by, visible, gpu):
    launched = launched_process(TORCHRUN if by == "torchrun" else SRUN)
    assert launched.gpu(visible) == gpu


@pytest.mark.parametrize(("environment", "visible"), [(TORCHRUN, 1), (TORCHRUN, 3), (SRUN, 2)])
def test_fewer_gpus_than_processes(environment, visible):
    with pytest.raises(InputError, match=f"which has {visible} GPUs; start one for each GPU"):
        launched_process(environment).gpu(visible)


def test_a_contradiction_is_one_line_of_the_command(run_options, monkeypatch, capsys):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert train_net.main([*CONFIG, "--num-gpus", "2", *run_options]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == "error: --num-gpus 2: torchrun started this run, and it would be 4; leave out --num-gpus"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_the_first_process_alone_tries_the_output_folder_of_a_dry_run(
    run_options, write_fields, monkeypatch, tmp_path, rank
):
    """It removes the folder again, in which another one might be writing."""
    write_fields(("b_1",))
    (tmp_path / "file").write_text("")
    two = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank}
    for name, value in {**TORCHRUN, **two}.items():
        monkeypatch.setenv(name, value)
    options = options_of(run_options, OUTPUT_DIR=tmp_path / "file" / "run")
    args = argument_parser("").parse_args([*CONFIG, *options])
    args.dry_run = True
    with pytest.raises(InputError, match="cannot write") if rank == "0" else nullcontext():
        assert prepare_config(args).is_frozen()


def srun(command: list[str], **environment: str) -> list[subprocess.Popen]:
    """Start two processes with the variables of srun."""
    common = {**os.environ, **SRUN, **environment, "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2"}
    common["SLURM_STEP_NODELIST"] = "localhost"
    ranks = [{"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    return [subprocess.Popen([sys.executable, *command], env=common | rank) for rank in ranks]


def torchrun(command: list[str], **environment: str) -> list[subprocess.Popen]:
    """Start two processes by torchrun."""
    meeting = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", environment["MASTER_PORT"]]
    return [subprocess.Popen([sys.executable, *meeting, *command], env={**os.environ, "OMP_NUM_THREADS": "1"})]


@pytest.mark.slow
def test_launched_processes_train_as_one(run_options, checkout, tmp_path, write_fields):
    write_fields(("b_1",))  # an image to score for each process
    options = options_of(run_options, SOLVER__WARMUP_ITERS=0)
    assert train_net.main([*CONFIG, *options]) == 0
    expected = metrics_of(tmp_path / "output")
    for launcher in (torchrun, srun):
        folder = tmp_path / launcher.__name__
        command = [str(checkout / "train_net.py"), *CONFIG, *options_of(options, OUTPUT_DIR=folder)]
        started = launcher(command, MASTER_PORT=str(free_port()), OMP_NUM_THREADS="1")
        assert [process.wait(300) for process in started] == [0] * len(started)
        assert_close(expected, metrics_of(folder))
        assert "fields_test: 2 images" in (folder / "log.txt").read_text()
