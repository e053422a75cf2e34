"""Ablations: a protocol as data, its runs through train_net.py, and what they show."""
