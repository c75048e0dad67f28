"""Mutation testing of specs: faults planted for real, to see which tolerance notices them."""
