"""The one exception of the baseline station."""

from __future__ import annotations


class BaselineError(Exception):
    """A baseline that cannot be read or written; the message says the way out."""
