"""Pre-training and evaluation of the embedded vision-language model (see ``python -m research.pretraining``)."""
