"""The ladders of ``specs/systems``, climbed: each of three networks has another rung that is right.

All of their tolerances choose but the speed, which a busy machine would make a matter of chance.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.choice import Choice
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.choose import settled
from gate.run.opened import material
from gate.spec.load import load_specs
from gate.spec.matrix import plan

pytest.importorskip("torch")
SYSTEMS = Path(__file__).resolve().parents[3] / "specs" / "systems"


def climbed(name: str, tmp_path: Path) -> Choice:
    """What the spec's ladder comes to on all of its samples."""
    (case,) = plan(load_specs([str(SYSTEMS / f"{name}.yaml")])).cases
    untimed = tuple(one for one in case.chosen_by if one.metric != "speedup")
    assert len(untimed) == len(case.chosen_by) - 1
    case = replace(case, chosen_by=untimed, run=replace(case.run, layer_samples=2))
    found = material(case)
    _, choice = settled(
        case,
        found.native,
        evaluation=found.evaluation,
        calibration=found.calibration,
        cache=Cache(tmp_path / "cache"),
        announcer=Announcer(None),
        work=tmp_path / "work",
    )
    assert choice is not None
    return choice


@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("ladder_dynamic", []),
        # Convolutions stay in float.
        ("ladder_static", [("torch-dynamic", "quantized_ops: 25 %")]),
        # Uneven channels: static loses answers, which training gets back.
        (
            "ladder_qat",
            [("torch-dynamic", "quantized_ops: 12.5 %"), ("torch-fx-static", "top1_drop: ")],
        ),
    ],
)
def test_the_cheapest_rung_that_holds_is_taken(
    tmp_path: Path, name: str, failing: list[tuple[str, str]]
) -> None:
    choice = climbed(name, tmp_path)
    *before, taken = choice.tried
    assert [one.name for one in before] == [rung for rung, _ in failing]
    for one, (_, why) in zip(before, failing, strict=True):
        assert one.why.startswith(why)
        assert not one.holds
    right = {"ladder_dynamic": "dynamic", "ladder_static": "fx-static", "ladder_qat": "qat"}
    assert (choice.met, choice.method, taken.name) == (True, *2 * [f"torch-{right[name]}"])
    assert taken.figures["top1_drop"] < 1.0
