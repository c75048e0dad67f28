"""Quantizers: how a candidate is made. One file a method; see ``base`` for the protocol."""
