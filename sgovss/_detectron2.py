"""Imports Detectron2 once, without the noise that its import makes with a recent torch."""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* is deprecated", category=FutureWarning)
    warnings.filterwarnings("ignore", message="No CUDA runtime is found")
    try:
        import detectron2.engine
        import detectron2.modeling  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "detectron2":
            raise
        raise ImportError(
            "sgovss extends Detectron2, which is not installed; run 'make setup' or 'python "
            "tools/install_detectron2.py', or install it from its own repository"
        ) from error
