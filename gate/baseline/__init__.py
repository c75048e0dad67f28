"""Baselines: the only place of the gate that reads and writes them."""
