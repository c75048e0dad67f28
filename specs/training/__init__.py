"""Scripts that made the committed weights."""
