"""Conformance kits that a new backend, quantizer, data source or metric inherits. They need pytest."""
