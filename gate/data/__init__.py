"""Data: sources, preprocessing, sampling and digests. One file a source; see ``base``."""
