"""Measurements of time and memory: models beside their bare encoder, scenes through the demo."""
