"""Specs that ship, and the models, data and training scripts they name."""
