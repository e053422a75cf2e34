"""Options of several processes are checked before a library gets them."""

from __future__ import annotations

import socket

import pytest
import torch

import train_net
from sgovss.engine.launch_options import LaunchOptions
from sgovss.errors import InputError
from tests.engine.training import CONFIG


@pytest.fixture
def taken():
    """A port in use."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def free():
    """A port that was free a moment ago."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.mark.parametrize("processes", [0, -1, 1])
@pytest.mark.parametrize("url", ["auto", "nonsense", "tcp://127.0.0.1:1"])
def test_no_gpu_is_one_process_and_needs_no_url(processes, url):
    assert LaunchOptions(processes, 1, 0, url).checked().processes == 1


def test_addresses_that_work(free, tmp_path, monkeypatch, capsys):
    for url in ("auto", f"tcp://127.0.0.1:{free}", f"tcp://localhost:{free}", f"file://{tmp_path}/meet"):
        assert LaunchOptions(2, 1, 0, url).checked().processes == 2
    assert LaunchOptions(1, 2, 0, f"tcp://127.0.0.1:{free}").checked()
    assert capsys.readouterr().out == ""
    assert LaunchOptions(1, 2, 1, f"tcp://127.0.0.1:{free}").checked()
    assert "waiting for machine 0" in capsys.readouterr().out
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free))
    assert LaunchOptions(2, 1, 0, "env://").checked()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((1, 2, 0, "auto"), "--num-machines 2: give --dist-url tcp://HOST:PORT"),
        ((1, 0, 0, "auto"), "--num-machines 0: give the number of machines"),
        ((1, 2, 2, "tcp://127.0.0.1:29790"), "--machine-rank 2: the 2 machines .* have the numbers 0 to 1"),
        ((1, 1, 1, "auto"), "--machine-rank 1: the 1 machines .* 0 to 0"),
        ((1, 2, -1, "tcp://127.0.0.1:29790"), "--machine-rank -1"),
        ((2, 1, 0, "127.0.0.1:29778"), "--dist-url 127.0.0.1:29778: not an address where processes can meet"),
        ((2, 1, 0, "http://127.0.0.1:80"), "not an address where processes can meet"),
        ((2, 1, 0, ""), "not an address"),
        ((2, 1, 0, "tcp://"), "not an address"),
        ((2, 1, 0, "tcp://127.0.0.1"), "needs a host and a port"),
        ((2, 1, 0, "tcp://:29500"), "needs a host and a port"),
        ((2, 1, 0, "tcp://127.0.0.1:0"), "needs a host and a port"),
        ((2, 1, 0, "tcp://127.0.0.1:99999"), "needs a host and a port from 1 to 65535"),
        ((2, 1, 0, "tcp://127.0.0.1:port"), "needs a host and a port"),
        ((2, 1, 0, "tcp://no-such-host.invalid:29500"), "the host 'no-such-host.invalid' is not known here"),
        ((2, 1, 0, "file:///no/such/folder/meet"), "there is no folder /no/such/folder"),
        ((2, 1, 0, "env://"), "the environment has no MASTER_ADDR"),
        ((2, 1, 0, "env"), "--dist-url env: not an address where processes can meet"),
        ((2, 1, 0, "file:///tmp/meet?rank=0"), "options behind '\\?' are not supported"),
        ((2, 1, 0, "file:///proc/meet"), "file:///proc/meet: cannot be written"),
    ],
)
def test_what_cannot_work_is_told(monkeypatch, options, message):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(InputError, match=message):
        LaunchOptions(*options).checked()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", None, "the environment has no MASTER_PORT"),
        ("127.0.0.1", "abc", "needs a host and a port"),
        ("127.0.0.1", "0", "needs a host and a port"),
        ("no-such-host.invalid", "29500", "the host 'no-such-host.invalid' is not known here"),
        ("192.0.2.1", "29500", "'192.0.2.1' is not this machine"),
        ("::1", "99999", "needs a host and a port"),
    ],
)
def test_the_address_in_the_environment_is_checked_too(monkeypatch, host, port, message):
    monkeypatch.setenv("MASTER_ADDR", host)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    if port is not None:
        monkeypatch.setenv("MASTER_PORT", port)
    with pytest.raises(InputError, match=f"^--dist-url env://.*{message}"):
        LaunchOptions(2, 1, 0, "env://").checked()


def test_a_port_in_use_is_told(taken):
    with pytest.raises(InputError, match=f"--dist-url tcp://127.0.0.1:{taken}: port {taken} is in use; give another"):
        LaunchOptions(2, 1, 0, f"tcp://127.0.0.1:{taken}").checked()


@pytest.mark.parametrize("host", ["192.0.2.1", "198.51.100.7", "203.0.113.9"])  # addresses that no machine has
def test_a_host_that_is_not_this_machine_is_told_if_there_is_no_other(host):
    with pytest.raises(
        InputError, match=f"'{host}' is not this machine; give tcp://127.0.0.1:29500, or --num-machines"
    ):
        LaunchOptions(2, 1, 0, f"tcp://{host}:29500").checked()


def test_a_file_of_another_run_is_told(tmp_path):
    (tmp_path / "meet").touch()
    with pytest.raises(InputError, match="from another run; remove it"):
        LaunchOptions(2, 1, 0, f"file://{tmp_path}/meet").checked()


@pytest.mark.parametrize(("found", "wanted"), [(1, 2), (4, 5), (8, 100)])
def test_more_processes_than_gpus_are_told(monkeypatch, found, wanted):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    with pytest.raises(InputError, match=f"--num-gpus {wanted}: this machine has {found} GPUs"):
        LaunchOptions(wanted, 1, 0, "auto").checked()


def test_the_commands_check_them(run_options, capsys):
    for options, message in (
        (["--num-machines", "2"], "--num-machines 2: give --dist-url"),
        (["--num-gpus", "2", "--dist-url", "127.0.0.1:29778"], "--dist-url 127.0.0.1:29778"),
    ):
        assert train_net.main([*CONFIG, *options, *run_options]) == 2
        assert message in capsys.readouterr().err
