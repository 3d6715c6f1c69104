"""Measurements of this node and of its peers on the same data: `python -m benchmarks --help`."""
