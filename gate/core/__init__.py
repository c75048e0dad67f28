"""Frozen value types shared by every station of the flow. No input or output, no framework."""
