"""Tools for maintainers: pre-training, ablations, benchmarks and checks. Not part of the wheel."""
