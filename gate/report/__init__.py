"""Verdicts made readable: terminal table, JSON, JUnit, Markdown. Numbers are rounded here and nowhere else."""
