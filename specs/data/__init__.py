"""Data sets that the shipped specs name with `entry:`."""
