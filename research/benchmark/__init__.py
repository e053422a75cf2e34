"""Measurements that only maintainers run: large rasters through the command, and a profile of one inference."""
