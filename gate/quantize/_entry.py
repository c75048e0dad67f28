"""Calls of the user's own code, whose errors are told as errors of the quantization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gate.quantize.base import QuantizeError


def entry_of(name: str) -> Callable[..., Any]:
    """Load a trusted ``package.module:callable``; what it raises when it is called becomes a
    QuantizeError with what that most likely means.

    Raises:
        QuantizeError: it cannot be loaded.
    """
    from gate.spec.entries import EntryError, load_entry

    try:
        function: Callable[..., Any] = load_entry(name)
    except EntryError as error:
        raise QuantizeError(str(error)) from error

    def called(*given: Any) -> Any:
        try:
            return function(*given)
        except Exception as error:  # the user's code may raise anything
            raise QuantizeError(
                f"'{name}' raised {type(error).__name__}: {error}{_hint(error)}"
            ) from error

    return called


def _hint(error: Exception) -> str:
    """What an error of a user's training loop most likely means; empty where nothing is known."""
    if "does not require grad" not in str(error):
        return ""
    return (
        ". Integer weights have no gradient: was the model converted inside the training loop? "
        "convert comes once, after the last epoch"
    )
