"""Declarative CI validation and regression gate for quantized neural networks."""

__version__ = "0.1.0"
