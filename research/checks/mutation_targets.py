"""The modules that the mutation check changes, and the tests of each."""

from __future__ import annotations

_SCENES = "rasters/scene rasters/scene_runs"
_READER = "rasters/source rasters/no_data rasters/no_data_with_masks rasters/bands rasters/planned_sources"
_VECTORS = "rasters/products rasters/polygons rasters/segments"
_CALLS = "mapping/options mapping/call mapping/frames"
_MODEL = "modeling/levels_to_logits modeling/logits_to_scores modeling/images_to_maps modeling/text_and_maps"
_TOWERS = f"modeling/dense_path modeling/parts {_MODEL}"
_STEP = "engine/training_rules engine/step"
_RUNS = "engine/distributed engine/launched engine/dry_run commands/train"
_DATASETS = "data/listing commands/prepare"

_TESTS = {
    "tiling": "tiling",
    "vocabulary": "vocabulary words",
    "words/colors": "word_files word_forms words vocabulary",
    "words/files": "word_files word_forms words vocabulary",
    "words/formats": "word_files word_forms words vocabulary",
    "words/keys": "word_files word_forms words vocabulary",
    "words/lines": "word_files word_forms words vocabulary",
    "words/lists": "word_files word_forms words vocabulary",
    "words/names": "word_files word_forms words vocabulary",
    "words/numbers": "word_files word_forms words vocabulary",
    "words/structures": "word_files word_forms words vocabulary",
    "words/tables": "word_files word_forms words vocabulary",
    "evaluation/evaluator": "evaluation/evaluator",
    "evaluation/image_counts": "evaluation/evaluator evaluation/worst_images evaluation/significance",
    "evaluation/metrics": "evaluation/metrics evaluation/evaluator",
    "modeling/bias_guidance": f"{_MODEL} modeling/parts modeling/initialisation",
    "modeling/chunks": "modeling/chunks modeling/parts modeling/class_scores",
    "modeling/class_scores": f"modeling/class_scores {_MODEL} inference/ranking",
    "modeling/compensation": f"modeling/compensation {_MODEL}",
    "modeling/conv_tower": f"{_TOWERS} modeling/embedded_clip",
    "modeling/cost_volume": f"{_MODEL} modeling/parts modeling/initialisation modeling/frugality config_effects",
    "modeling/decoder": f"{_MODEL} modeling/parts modeling/training_choices modeling/frugality config_effects",
    "modeling/image_encoder": _TOWERS,
    "modeling/layers": f"modeling/parts modeling/initialisation {_MODEL}",
    "modeling/logits": f"modeling/class_scores {_MODEL}",
    "modeling/meta_arch": (
        f"{_MODEL} modeling/meta_arch modeling/class_scores modeling/parts modeling/cuda_graphs config_effects"
    ),
    "modeling/objective": f"modeling/objective {_MODEL}",
    "modeling/shared_mean": "modeling/compensation modeling/objective engine/training_rules",
    "modeling/views": "modeling/views modeling/class_scores config_effects",
    "modeling/vit_blocks": f"modeling/dense_path modeling/frugality {_MODEL}",
    "modeling/vit_tower": _TOWERS,
    "engine/dry_run": "engine/dry_run",
    "engine/hooks": "engine/trainer commands/train",
    "engine/nonfinite": "engine/step engine/trainer",
    "engine/preparation": f"config_effects {_RUNS}",
    "engine/run": f"engine/run config_changes {_RUNS}",
    "engine/seeds": "engine/environment engine/trainer engine/dry_run",
    "engine/step": f"{_STEP} engine/trainer",
    "engine/step_numbers": f"{_STEP} engine/trainer",
    "engine/trainer": f"engine/resumed_trainer {_STEP} engine/trainer engine/balance config_effects commands/train",
    "data/archives": "data/archives data/other_suffixes data/tar_archives commands/prepare",
    "data/channels": "data/deep_labels data/label_files data/raw_labels",
    "data/listing": f"{_DATASETS} data/registration",
    "data/orientation": "data/orientation",
    "data/pair_conversion": "commands/prepare data/label_files",
    "data/preparation": f"{_DATASETS} data/archives",
    "data/tar_archives": "data/tar_archives data/archives commands/prepare",
    "inference/segmentation": "inference/segmentation inference/predictor",
    "mapping/call": _CALLS,
    "mapping/folder": _CALLS,
    "mapping/options": f"{_CALLS} commands/segment",
    "mapping/passed": _CALLS,
    "mapping/result": "mapping/frames mapping/call",
    "mapping/run": f"mapping/call commands/segment {_SCENES}",
    "mapping/segmenter": f"mapping/call commands/segment {_SCENES}",
    "mapping/values": f"{_CALLS} rasters/options commands/segment",
    "rasters/area_of_interest": "rasters/area_of_interest rasters/scene",
    "rasters/areas": "rasters/areas rasters/outputs rasters/products rasters/scene",
    "rasters/bands": "rasters/bands rasters/inputs",
    "rasters/blending": "rasters/blending",
    "rasters/class_sums": f"rasters/areas rasters/upsampling {_SCENES}",
    "rasters/collars": f"rasters/no_data {_READER} rasters/odd_rasters",
    "rasters/coordinate_systems": "rasters/virtual",
    "rasters/coverage": "rasters/coverage rasters/products",
    "rasters/features": "rasters/features rasters/scene",
    "rasters/filling": f"rasters/blending rasters/upsampling rasters/areas {_SCENES}",
    "rasters/finishing": f"rasters/finishing rasters/outputs rasters/products rasters/segments {_SCENES}",
    "rasters/folders": "rasters/folders rasters/inputs",
    "rasters/gdal": "rasters/gdal rasters/remote",
    "rasters/georeference": "rasters/georeference rasters/products rasters/planning",
    "rasters/geotiff": f"rasters/products rasters/outputs {_SCENES}",
    "rasters/grid": "rasters/grid rasters/blending rasters/upsampling",
    "rasters/handle": f"rasters/remote {_READER}",
    "rasters/inputs": "rasters/names rasters/inputs rasters/descriptions rasters/remote",
    "rasters/masked_pixels": _READER,
    "rasters/merging": "rasters/polygons rasters/outputs",
    "rasters/names": "rasters/names rasters/inputs",
    "rasters/no_data": _READER,
    "rasters/opening": f"rasters/descriptions rasters/services rasters/remote {_READER}",
    "rasters/options": "rasters/options rasters/inputs rasters/outputs mapping/options",
    "rasters/partial": f"rasters/scene_runs rasters/planned_sources {_VECTORS}",
    "rasters/picture": "rasters/scene rasters/blending",
    "rasters/plan": "rasters/plan rasters/grid rasters/areas rasters/planned_sources rasters/scene_runs",
    "rasters/planning": f"rasters/planning rasters/options {_SCENES} rasters/planned_sources",
    "rasters/polygons": "rasters/polygons rasters/coverage rasters/products",
    "rasters/resampling": f"rasters/resampling {_READER} rasters/blending rasters/edges",
    "rasters/right_angles": "rasters/right_angles rasters/squaring",
    "rasters/scene": f"rasters/scene_progress {_SCENES} rasters/scene_errors rasters/options",
    "rasters/segment_classes": "rasters/segments",
    "rasters/segment_sums": "rasters/segments",
    "rasters/segments": "rasters/segment_places rasters/segments",
    "rasters/source": f"{_READER} rasters/inputs rasters/scene",
    "rasters/sentinel2": "rasters/sentinel2",
    "rasters/squaring": "rasters/squaring",
    "rasters/stac": "rasters/stac rasters/remote rasters/inputs rasters/services",
    "rasters/stored_polygons": "rasters/stored_polygons rasters/squaring",
    "rasters/stretch": "rasters/inputs rasters/source",
    "rasters/style": "rasters/products rasters/scene",
    "rasters/summary": f"rasters/planned_sources rasters/outputs {_SCENES}",
    "rasters/threads": "rasters/threads",
    "rasters/tiles": "rasters/services rasters/inputs rasters/remote",
    "rasters/units": "rasters/grid rasters/areas rasters/blending",
    "rasters/upsampling": "rasters/upsampling rasters/blending",
    "rasters/vector_files": f"{_VECTORS} rasters/coverage",
    "rasters/vectors": f"{_VECTORS} rasters/scene",
    "rasters/virtual": "rasters/virtual rasters/inputs rasters/descriptions rasters/planned_sources",
}
"""Below sgovss and tests, without suffixes. The most sensitive tests come first, the slow ones last."""

WITHOUT_MUTANTS = {
    "mapping/libraries": "only imports, which tests without the libraries check",
    "mapping/several": "processes, whose tests take long for each mutant",
    "mapping/shares": "processes, whose tests take long for each mutant",
    "rasters/cluster": "processes, whose tests take long for each mutant",
    "rasters/cluster_mapper": "processes, whose tests take long for each mutant",
    "rasters/ogr": "one setting of a library",
    "rasters/unit_files": "processes, whose tests take long for each mutant",
    "rasters/worker": "processes, whose tests take long for each mutant",
}
"""Modules of the packages ``rasters``, ``mapping`` and ``words`` that are left out, and why."""


def _file(name: str) -> str:
    folder, _, stem = name.rpartition("/")
    return f"tests/{name}" if name == "config_effects" else f"tests/{folder}{'/' * bool(folder)}test_{stem}.py"


TARGETS = {
    f"sgovss/{module}.py": tuple(dict.fromkeys(_file(name) for name in tests.split()))
    for module, tests in _TESTS.items()
}
"""Modules and the files of their tests."""
