"""What is wrong with a spec, where, and the way out; all of it at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gate.core.tolerance import SourcePosition


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnostic:
    """One mistake."""

    position: SourcePosition
    path: str
    """Dotted path inside the document (``tolerances.device.top1``); empty for the document itself."""
    message: str
    hint: str = ""
    """The way out, shown in parentheses."""

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        # A file that somebody else brought may be named by what a terminal obeys.
        file = shown(self.position.file, limit=4096)
        return f"{file}:{self.position.line}:{self.position.column}: {path}{self.message}{hint}"


class SpecError(Exception):
    """Specs that cannot be used; carries every diagnostic of every file that was read."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = ordered(diagnostics)
        super().__init__("\n".join(map(str, self.diagnostics)))


def ordered(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """Without repetitions, by file in the order of appearance, then by line and column."""
    unique = tuple(dict.fromkeys(diagnostics))
    files = {name: rank for rank, name in enumerate(dict.fromkeys(d.position.file for d in unique))}
    return tuple(
        sorted(
            unique,
            key=lambda d: (files[d.position.file], d.position.line, d.position.column, d.path),
        )
    )


def whole_file(file: str, message: str, hint: str = "") -> Diagnostic:
    """A diagnostic that concerns a file, not a place in it."""
    position = SourcePosition(file=file, line=1, column=1)
    return Diagnostic(position=position, path="", message=message, hint=hint)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest of ``known``, or the empty string where none is near."""
    names = sorted(known)
    folded = {name.casefold(): name for name in reversed(names)}
    if word.casefold() in folded:
        return f"did you mean '{folded[word.casefold()]}'?"
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else ""


def name_or_list(word: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest, or else every name there is."""
    names = sorted(known)
    return did_you_mean(word, names) or f"expected {one_of(names)}"


def one_of(names: Sequence[str]) -> str:
    """``a``, ``a or b``, ``one of a, b, c``."""
    if len(names) <= 2:
        return " or ".join(names)
    return "one of " + ", ".join(names)


def join_path(parent: str, key: str | int) -> str:
    """Extend a dotted path by a key or an index; keys that are no plain words are quoted."""
    if isinstance(key, int):
        return f"{parent}[{key}]"
    word = key if key.replace("_", "").replace("-", "").isalnum() else f'"{shown(key)}"'
    return f"{parent}.{word}" if parent else word


def shown(text: str, limit: int = 60) -> str:
    """``text`` fit for one line of a message: escaped and cut."""
    flat = text.encode("unicode_escape").decode("ascii") if not text.isprintable() else text
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."
