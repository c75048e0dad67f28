"""Observation x tolerances x baseline -> checks -> verdict. Pure: no input or output, no framework."""
