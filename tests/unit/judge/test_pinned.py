"""What is told of weights that the spec pins by less than their SHA-256."""

from __future__ import annotations

import pytest

from gate.core.canonical import JsonValue
from gate.core.spec import ModelSpec
from gate.judge.pinned import pin_notes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"weights": {"path": "a.pth", "sha256_prefix": "0" * 8}}, "pinned by 8 of the 64 digits"),
        ({"weights": {"path": "a.h5"}}, "not pinned"),
        ({"weights": {"path": "a.pth", "sha256_prefix": "0" * 64}}, None),
        ({"weights": {"path": "a.pth", "sha256": "0" * 64}}, None),
        ({"weights": {"enum": "DEFAULT"}}, None),
        ({}, None),
    ],
)
def test_a_digest_that_is_not_whole_is_told(
    options: dict[str, JsonValue], told: str | None
) -> None:
    model = ModelSpec(id="m", task="other", source="torchvision", options=options, inputs={})
    notes = list(pin_notes(model))
    assert len(notes) == (told is not None)
    assert all((told or "") in note for note in notes)
