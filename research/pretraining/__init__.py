"""Pre-training and evaluation of the embedded vision-language model: ``python -m research.pretraining --help``."""
