"""Quantization of the user's own, named by specs with `method: python`."""
