"""Networks that the shipped specs name with `entry:`."""
