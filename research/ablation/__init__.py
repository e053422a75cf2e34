"""Ablations: a protocol of variants, its runs through train_net.py, and tables and pictures of the results."""
