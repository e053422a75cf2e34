"""One process of a run: what it sets up, what it does, and how it ends if another process ends."""

from __future__ import annotations

import multiprocessing
from argparse import Namespace
from types import SimpleNamespace

import pytest

from sgovss.config import load_config
from sgovss.config_changes import Use
from sgovss.engine import run as module

OF_RUN = {"dry_run": False, "eval_only": False, "resume": False}


@pytest.fixture
def config(tmp_path):
    return load_config("sgovss_tiny.yaml", ["OUTPUT_DIR", str(tmp_path), "SEED", "7"])


@pytest.fixture
def processes(monkeypatch):
    """A function that says how many processes there are, and which of them this one is."""

    def say(count: int, rank: int = 0) -> None:
        monkeypatch.setattr(module.comm, "get_world_size", lambda: count)
        monkeypatch.setattr(module.comm, "get_rank", lambda: rank)
        monkeypatch.setattr(module.comm, "is_main_process", lambda: rank == 0)

    return say


@pytest.fixture
def done(monkeypatch) -> list[tuple]:
    """What a run does, in its order, each by a name and some arguments; nothing of it is done here."""
    calls: list[tuple] = []

    def replace(name: str, *, tell=lambda *_: (), result: object = None) -> None:
        monkeypatch.setattr(
            module, name, lambda *args, **more: calls.append((name, *tell(*args, *more.values()))) or result
        )

    replace("register_datasets", tell=lambda given: (given,))
    replace("adopt_seed", tell=lambda _, resume: (resume,))
    replace("default_setup")
    replace("seed_all_rng", tell=lambda seed: (seed,))
    replace("setup_logger", tell=lambda *given: given[1:])
    replace("dry_run")
    replace("_evaluate", result={"evaluated": 1})
    replace("_train", tell=lambda _, resume: (resume,), result={"trained": 1})
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda *args, **more: calls.append(("start", *args, more)))
    return calls


def before_the_seed(done: list[tuple]) -> list[tuple]:
    return done[: [name for name, *_ in done].index("adopt_seed")]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_launched_processes_know_the_datasets_and_fork_their_workers(config, processes, done, monkeypatch, count):
    """One process by itself has registered the datasets when it prepared the config."""
    processes(count)
    config.DATASETS.SPECIFICATIONS = ("a.yaml",)
    module.run(config, Namespace(**OF_RUN))
    launched = [("start", "fork", {"force": True}), ("register_datasets", ("a.yaml",))]
    assert before_the_seed(done) == (launched if count > 1 else [])
    done.clear()
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    module.run(config, Namespace(**OF_RUN))
    assert before_the_seed(done) == (launched[1:] if count > 1 else [])


@pytest.mark.parametrize("rank", [0, 1])
def test_all_processes_build_the_same_model(config, processes, done, rank):
    """Detectron2's setup gives each process another seed, so that of the config is set after it."""
    processes(2, rank)
    module.run(config, Namespace(**OF_RUN))
    names = [name for name, *_ in done]
    assert names.index("adopt_seed") < names.index("default_setup") < names.index("seed_all_rng")
    assert ("seed_all_rng", 7) in done and ("setup_logger", rank, "sgovss") in done


@pytest.mark.parametrize(
    ("options", "last", "results", "keeps_seed"),
    [
        ({}, ("_train", False), {"trained": 1}, False),
        ({"resume": True}, ("_train", True), {"trained": 1}, True),
        ({"eval_only": True}, ("_evaluate",), {"evaluated": 1}, False),
        ({"eval_only": True, "resume": True}, ("_evaluate",), {"evaluated": 1}, False),
        ({"dry_run": True}, ("dry_run",), {}, False),
    ],
)
def test_a_run_trains_evaluates_or_tries(config, processes, done, options, last, results, keeps_seed):
    processes(1)
    assert module.run(config, Namespace(**{**OF_RUN, **options})) == results
    assert done[-1] == last and ("adopt_seed", keeps_seed) in done


@pytest.mark.parametrize("weights", ["", "trained.pth"])
def test_a_model_is_evaluated_with_its_weights(config, monkeypatch, weights):
    calls = []
    monkeypatch.setattr(module.Trainer, "build_model", lambda cfg: "model")
    monkeypatch.setattr(module, "read_checkpoint", lambda path: {"config": f"of {path}"})
    for name in ("load_weights", "report_changes"):
        monkeypatch.setattr(module, name, lambda *given, name=name: calls.append((name, *given)))
    config.MODEL.WEIGHTS = weights
    assert module.evaluated_model(config) == "model"
    assert calls == [
        ("load_weights", "model", {"config": "of trained.pth"}, weights),
        ("report_changes", config, "of trained.pth", weights, Use.EVALUATION),
    ] * bool(weights)


@pytest.mark.parametrize(
    ("published", "rank", "written"), [("isprs", 0, 1), ("isprs", 1, 0), ("", 0, 0)], ids=["first", "other", "none"]
)
def test_the_first_process_compares_an_evaluation_with_published_numbers(
    config, processes, monkeypatch, published, rank, written
):
    calls = []
    processes(2, rank)
    monkeypatch.setattr(module, "evaluated_model", lambda cfg: None)
    monkeypatch.setattr(module.Trainer, "test", lambda cfg, model: {"mIoU": 3.0})
    monkeypatch.setattr(module, "write_comparison", lambda *args: calls.append(args[0]))
    config.TEST.PUBLISHED = published
    assert module._evaluate(config) == {"mIoU": 3.0}
    assert calls == [published] * written


@pytest.fixture
def trained(config, processes, monkeypatch):
    """A function that trains with a trainer that ends with an error; it returns what was done besides."""

    def train(error: BaseException | None, count: int, rank: int = 0) -> list:
        calls: list = []

        def end() -> str:
            if error is not None:
                raise error
            return "results"

        processes(count, rank)
        trainer = SimpleNamespace(resume_or_load=lambda resume: calls.append(("resume", resume)), train=end)
        monkeypatch.setattr(module, "Trainer", lambda cfg: trainer)
        monkeypatch.setattr(module, "write_environment", lambda folder, *given: calls.append(("written", *given)))
        monkeypatch.setattr(module.comm, "synchronize", lambda: calls.append("waited for the others"))
        monkeypatch.setattr(module.time, "sleep", lambda seconds: calls.append(("slept", seconds)))
        if error is None:
            assert module._train(config, True) == "results"
        else:
            with pytest.raises(type(error)) as caught:
                module._train(config, True)
            assert caught.value is error
        return calls

    return train


@pytest.mark.parametrize(
    ("error", "count", "rank", "expected"),
    [
        (None, 1, 0, [("written", 7, 1), ("resume", True)]),
        (None, 3, 0, [("written", 7, 3), ("resume", True)]),
        (None, 3, 1, [("resume", True)]),
        # The launcher ends all processes when the first one exits.
        (SystemExit(143), 3, 1, [("resume", True), "waited for the others"]),
        # The process that caused the error reports it first.
        (RuntimeError("connection"), 3, 1, [("resume", True), ("slept", 3.0)]),
        (RuntimeError("connection"), 2, 1, [("resume", True), ("slept", 3.0)]),
        (RuntimeError("mine"), 1, 0, [("written", 7, 1), ("resume", True)]),
    ],
)
def test_a_process_that_ends_leaves_the_others_time(trained, error, count, rank, expected):
    assert trained(error, count, rank) == expected
