from __future__ import annotations

import pytest

from gate.core.tolerance import SourcePosition
from gate.spec.diagnostics import (
    Diagnostic,
    SpecError,
    did_you_mean,
    join_path,
    name_or_list,
    one_of,
    shown,
)


def fault(file: str, line: int, column: int = 1, message: str = "m") -> Diagnostic:
    position = SourcePosition(file=file, line=line, column=column)
    return Diagnostic(position=position, path="a.b", message=message)


def test_a_line_of_text() -> None:
    position = SourcePosition(file="specs/a.yaml", line=14, column=9)
    with_hint = Diagnostic(
        position=position, path="a.b", message="unknown", hint="did you mean 'c'?"
    )
    assert str(with_hint) == "specs/a.yaml:14:9: a.b: unknown (did you mean 'c'?)"
    assert str(Diagnostic(position=position, path="", message="x")) == "specs/a.yaml:14:9: x"


def test_diagnostics_are_ordered_within_files_and_said_once() -> None:
    found = [fault("b", 2), fault("a", 3), fault("b", 1, 9), fault("b", 1, 2), fault("a", 3)]
    error = SpecError(found)
    assert [(d.position.file, d.position.line, d.position.column) for d in error.diagnostics] == [
        ("b", 1, 2),
        ("b", 1, 9),
        ("b", 2, 1),
        ("a", 3, 1),
    ]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("top1_dropp", "did you mean 'top1_drop'?"),
        ("TOP1", "did you mean 'top1'?"),
        ("latency", "did you mean 'latency_p50'?"),
        ("zzz", ""),
    ],
)
def test_the_nearest_name(word: str, hint: str) -> None:
    assert did_you_mean(word, ["top1", "top1_drop", "latency_p50", "size"]) == hint


def test_without_a_near_name_all_are_listed() -> None:
    assert name_or_list("zzz", ["b", "a", "c"]) == "expected one of a, b, c"
    assert one_of(["a", "b"]) == "a or b"
    assert one_of(["a"]) == "a"


def test_paths() -> None:
    assert join_path(join_path("a", "b-c"), 2) == "a.b-c[2]"
    assert join_path("", "a") == "a"
    assert join_path("a", "x.y") == 'a."x.y"'


def test_text_in_messages_is_one_short_line() -> None:
    assert shown("a\nb\x07") == r"a\nb\x07"
    assert shown("é" * 100) == "é" * 57 + "..."
