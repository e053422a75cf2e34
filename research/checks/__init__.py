"""Checks of the project that maintainers run."""
