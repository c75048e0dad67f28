"""Backends: runtimes that open and run a model. One file a runtime; see ``base`` for the protocol."""
