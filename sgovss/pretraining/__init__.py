"""Pre-training and evaluation of the embedded vision-language model (see ``tools/pretrain_tiny_vlm.py``)."""
