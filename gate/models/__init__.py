"""Model sources: where a reference comes from. One file a source; see ``base`` for the protocol."""
