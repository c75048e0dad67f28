"""Metrics: pure functions with a unit and a direction. ``catalogue`` is data; the rest computes."""
