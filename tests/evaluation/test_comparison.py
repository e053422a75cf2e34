"""Tables of published results, and the comparison of a run with them."""

from __future__ import annotations

import json

import pytest
import yaml
from detectron2.data import DatasetCatalog

import train_net
from sgovss.config import config_path, load_config
from sgovss.data import register_datasets
from sgovss.data.registration import how_to_get
from sgovss.errors import InputError
from sgovss.evaluation import comparison
from sgovss.evaluation.comparison import PublishedTable, markdown, published_table, published_tables
from sgovss.paths import config_file

PROTOCOLS = sorted((config_file("sgovss_tiny.yaml").parent / "protocols").glob("*.yaml"))


def test_the_papers_numbers():
    table = published_table("paper_dlrsd")
    paper = next(row for row in table.rows if row.method == "the paper")
    assert paper.values == {
        "iSAID": 42.28, "DLRSD": 87.75, "Vaihingen": 37.77, "Potsdam": 32.45, "LoveDA": 26.4, "GaoFen-2": 30.06,
    }  # fmt: skip
    assert all("An, Wang, Chen" in row.source for row in table.rows)


def test_every_column_is_a_registered_test_set():
    register_datasets()
    for name, table in published_tables().items():
        assert [dataset for dataset in table.datasets.values() if dataset not in DatasetCatalog] == [], name


def test_prepare_is_named_only_for_datasets_that_it_can_prepare(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    register_datasets()
    assert how_to_get("dlrsd_published").endswith("then: sgovss prepare dlrsd --source DOWNLOADS")
    assert how_to_get("dlrsd_all").endswith("then: see the notes in dlrsd.yaml")


def test_an_unknown_table():
    with pytest.raises(InputError, match=r"TEST.PUBLISHED: no table 'papers'; give one of paper_dlrsd"):
        published_table("papers")


@pytest.mark.parametrize("path", PROTOCOLS, ids=lambda path: path.stem)
def test_protocols_name_registered_datasets_and_a_table(path):
    register_datasets()
    cfg = load_config(path)
    assert cfg.TEST.SKIP_ABSENT
    assert [name for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST) if name not in DatasetCatalog] == []
    assert set(published_table(cfg.TEST.PUBLISHED).datasets.values()) <= set(cfg.DATASETS.TEST)


def test_protocols_train_as_the_published_methods_did():
    recipes = {path.stem: cfg for path in PROTOCOLS if (cfg := load_config(path)).DATASETS.TRAIN}
    steps = {name: (cfg.SOLVER.MAX_ITER, cfg.SOLVER.IMS_PER_BATCH) for name, cfg in recipes.items()}
    assert steps == {
        "paper_dlrsd": (80000, 4),
        "paper_isaid": (80000, 4),
        "sgovss_dlrsd": (80000, 4),
        "sgovss_isaid": (80000, 4),
        "ovrs_dlrsd": (80000, 4),
        "ovrs_isaid": (80000, 4),
        "ovrsisbench_v1_dlrsd": (30000, 8),
        "ovrsisbench_v1_isaid": (30000, 8),
        "gsnet": (30000, 4),
        "ovrsisbench_v2": (40000, 8),
        # Not known; as OVRS.
        "hrlc_flair": (80000, 4),
        "hrlc_openearthmap": (80000, 4),
    }
    published = {name for name in recipes if not name.startswith(("paper_", "sgovss_"))}
    assert not any(recipes[name].MODEL.CLIP.SYNONYMS for name in published)
    sliding = {name: cfg for name, cfg in recipes.items() if cfg.TEST.SLIDING_WINDOW.ENABLED}
    assert sliding.keys() == {
        "ovrs_dlrsd", "ovrs_isaid", "gsnet", "ovrsisbench_v2", "hrlc_flair", "hrlc_openearthmap",
    }  # fmt: skip
    for cfg in sliding.values():
        # The mapper resizes to the working size with antialiasing; the view does not antialias.
        assert (cfg.INPUT.MIN_SIZE_TEST, cfg.TEST.SLIDING_WINDOW.ANTIALIAS) == (640, False)
        assert cfg.TEST.SLIDING_WINDOW.WORKING_SIZE == 640
    for cfg in recipes.values():
        assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY, cfg.MODEL.CLIP.LR_MULTIPLIER) == (2e-4, 1e-4, 0.01)
        assert (cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE, cfg.SOLVER.WARMUP_ITERS) == (0.01, 0)


def test_segearths_eight_sets_are_segmented_in_its_windows_without_training():
    eight, reference = (load_config(f"protocols/{name}.yaml") for name in ("segearth_eight", "zero_shot_reference"))
    assert (eight.INPUT.MIN_SIZE_TEST, eight.INPUT.MAX_SIZE_TEST) == (448, 448)
    window = eight.TEST.SLIDING_WINDOW
    assert (window.ENABLED, window.WINDOW, window.STRIDE) == (True, 224, 112)
    assert eight.DATASETS == reference.DATASETS and not eight.DATASETS.TRAIN
    assert (eight.MODEL.CLIP.DENSE, reference.MODEL.CLIP.DENSE) == ("qq+kk+vv", "value")
    assert not (eight.MODEL.SGOVSS.DECODER or eight.MODEL.SGOVSS.BIAS_GUIDANCE)


def test_openearthmap_is_not_a_test_set_where_all_of_it_is_trained_on():
    cfg = load_config("protocols/hrlc_openearthmap.yaml")
    assert not [name for name in cfg.DATASETS.TEST if name.startswith("openearthmap")]


def test_numbers_that_a_third_party_quotes_are_marked():
    table = published_table("segearth_eight")
    first_hand = {row.method for row in table.rows if row.first_hand}
    assert first_hand == {"ConInfer"}
    assert all(("as quoted in" in row.source) != row.first_hand for row in table.rows)
    best = max((row for row in table.rows if row.mean is not None), key=lambda row: row.mean or 0)
    assert (best.method, best.backbone, best.mean) == ("SegEarth-OV3", "SAM 3", 53.4)
    text = markdown(table, None, [])
    assert "SegEarth-OV3 [4] †" in text and "ConInfer [3] " in text and "ConInfer [3] †" not in text
    assert "† not read in the source itself" in text and "sgovss, this run" not in text


def test_the_mean_of_a_source_has_its_column_and_sets_without_a_file_are_not_evaluated():
    table = published_table("hg_rsovsseg_openearthmap")
    assert table.columns["LandCover.ai"] is None and set(table.datasets) == {"Potsdam", "LoveDA"}
    lines = markdown(table, {"LoveDA": 20.0}, []).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert cells[0][2:] == ["Potsdam", "LoveDA", "LandCover.ai", "mean of the source"]
    assert cells[2][2:] == ["39.60", "62.60", "87.20", "48.43"] and cells[3][2:] == ["", "20.00", "", ""]


@pytest.mark.parametrize("trained_on", ["dlrsd", "isaid"])
def test_the_papers_figures_and_our_reading_differ_as_documented(trained_on):
    paper, ours = (load_config(f"protocols/{reading}_{trained_on}.yaml") for reading in ("paper", "sgovss"))
    assert (paper.DATASETS, paper.SOLVER, paper.TEST) == (ours.DATASETS, ours.SOLVER, ours.TEST)
    # Figure 2: four losses on whole maps, and the refined text in the cost map.
    assert paper.MODEL.SGOVSS.COMPENSATION.WEIGHTS == [1.0, 1.0, 1.0, 1.0]
    assert (paper.MODEL.SGOVSS.COMPENSATION.LABELLED, paper.MODEL.SGOVSS.TEXT_SHARE) == (1.0, 1.0)
    assert not (paper.INPUT.ANY_ORIENTATION or paper.MODEL.CLIP.SYNONYMS)  # as in related work
    assert ours.MODEL.SGOVSS.COMPENSATION.WEIGHTS == [0.0, 0.0, 0.0, 1.0]
    assert (ours.MODEL.SGOVSS.COMPENSATION.LABELLED, ours.MODEL.SGOVSS.TEXT_SHARE) == (0.1, 0.25)
    assert ours.INPUT.ANY_ORIENTATION and ours.MODEL.CLIP.SYNONYMS


@pytest.mark.parametrize("name", ["convnext_b_640", "convnext_l_768", "vitb16_384", "vitl14_336"])
def test_full_size_configs_set_the_strength_of_the_compensation(name):
    own = yaml.safe_load(config_path(f"sgovss_{name}.yaml").read_text())["MODEL"]["SGOVSS"]["COMPENSATION"]
    assert {"WEIGHTS", "LABELLED"} <= own.keys()


def test_markdown_quotes_sources_and_leaves_unknown_values_empty():
    table = PublishedTable.model_validate(
        {
            "title": "Two sets",
            "columns": {"First": "first_all", "Second": "second_all"},
            "notes": ["A note."],
            "rows": [{"method": "Peer", "backbone": "ViT", "source": "its paper", "values": {"First": 12.5}}],
        }
    )
    lines = markdown(table, {"Second": 7.125}, ["second_all is not there"]).splitlines()
    assert [cell.strip() for cell in lines[6].split("|")[1:-1]] == ["Peer [1]", "ViT", "12.50", ""]
    assert [cell.strip() for cell in lines[7].split("|")[1:-1]] == ["**sgovss, this run**", "", "", "7.12"]
    assert "[1] its paper  " in lines
    assert lines[-2:] == ["- A note.", "- not evaluated: second_all is not there"]


def test_a_value_without_a_column_is_refused():
    with pytest.raises(ValueError, match="Peer: no column 'Third'"):
        PublishedTable.model_validate(
            {
                "title": "",
                "columns": {"First": "first_all"},
                "rows": [{"method": "Peer", "backbone": None, "source": "", "values": {"Third": 1.0}}],
            }
        )


def test_a_row_without_any_number_is_refused():
    row = {"method": "Peer", "backbone": None, "source": ""}
    with pytest.raises(ValueError, match="Peer: neither values nor a mean"):
        PublishedTable.model_validate({"title": "", "columns": {"First": "first_all"}, "rows": [row]})


@pytest.fixture
def benchmark(monkeypatch, run_options, tmp_path) -> list[str]:
    """Options of an evaluation on an existing and a missing test set, with a published table."""
    table = {
        "fields": {
            "title": "Fields",
            "columns": {"Fields": "fields_test", "LoveDA": "loveda_val"},
            "rows": [{"method": "Peer", "backbone": "ViT-L", "source": "its paper", "values": {"LoveDA": 40.0}}],
        }
    }
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(table))
    monkeypatch.setattr(comparison, "PUBLISHED", tmp_path / "published.yaml")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    tests = ["DATASETS.TEST", "('fields_test','loveda_val')", "TEST.PUBLISHED", "fields"]
    return ["--config-file", "sgovss_tiny.yaml", "--eval-only", *run_options, *tests]


def test_train_net_evaluates_existing_sets_and_names_the_missing_ones(benchmark, tmp_path, capsys):
    assert train_net.main([*benchmark, "TEST.SKIP_ABSENT", "True"]) == 0
    out = capsys.readouterr().out
    assert "left out: loveda_val is not in" in out
    assert "source: https://zenodo.org/records/5706578; then: sgovss prepare loveda --source" in out
    content = json.loads((tmp_path / "output/comparison.json").read_text())
    scores = json.loads((tmp_path / "output/evaluation/fields_test.json").read_text())
    assert content["ours"]["mIoU"] == {"Fields": scores["mIoU"]}
    assert content["published"][0]["values"] == {"LoveDA": 40.0}
    text = (tmp_path / "output/comparison.md").read_text()
    assert text in out
    assert "- this run: tiny, not fine-tuned, CLIP weights 'random', templates 'remote_sensing', activation" in text
    assert "| Peer [1]" in text and "- not evaluated: loveda_val is not in" in text


def test_a_missing_set_is_an_error_without_skip_absent(benchmark, capsys):
    assert train_net.main(benchmark) == 2
    assert "folder of dataset 'loveda' not found" in capsys.readouterr().err


def test_no_set_at_all_is_an_error(benchmark, capsys):
    argv = [*benchmark, "TEST.SKIP_ABSENT", "True", "DATASETS.TEST", "('loveda_val','uavid_all')"]
    assert train_net.main(argv) == 2
    assert "DATASETS.TEST: none of the 2 test sets is on disk; loveda_val is not in" in capsys.readouterr().err
