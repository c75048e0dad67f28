"""Benchmarks: side by side with the peer or the bare loop, in one run, as ratios.

``python -m tests.bench [NAME ...]`` prints a table and writes ``.bench/results.json``.
"""
