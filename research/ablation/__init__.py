"""Ablations: a protocol of variants, their training with train_net.py, and tables and pictures of the results."""
