"""Every bad spec against the complete text of its diagnostics, every good one against silence.

A new or changed message is written with ``python -m tests.spec_errors.test_spec_errors`` and then read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest

from gate.core.tolerance import Tolerance
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.schema import committed_text

HERE = Path(__file__).parent
BAD = sorted(path for path in (HERE / "bad").iterdir() if path.suffix != ".txt")
GOOD = sorted((HERE / "good").iterdir())


def report(path: Path) -> str:
    """What lint says, with the names as seen from this directory."""
    before = Path.cwd()
    os.chdir(HERE)
    try:
        load_specs([path.relative_to(HERE).as_posix()])
    except SpecError as error:
        return f"{error}\n"
    finally:
        os.chdir(before)
    return ""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATE_SPEC_ERRORS", raising=False)


def test_there_are_enough() -> None:
    assert len(BAD) >= 45
    assert len(GOOD) >= 10
    texts = {path.with_suffix(path.suffix + ".txt") for path in BAD}
    assert texts == set((HERE / "bad").glob("*.txt"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_bad(path: Path) -> None:
    expected = path.with_suffix(path.suffix + ".txt").read_text(encoding="utf-8")
    assert expected
    assert report(path) == expected


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_good(path: Path) -> None:
    assert report(path) == ""


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_the_published_schema_accepts_the_tolerances_that_the_grammar_accepts(path: Path) -> None:
    schema = json.loads(committed_text())
    tiers = schema["properties"]["tolerances"]["properties"]
    (spec,) = load_specs([str(path)])
    tolerances: list[Tolerance] = [*spec.tolerances]
    for override in spec.overrides:
        tolerances.extend(override.tolerances)
    assert tolerances
    for tolerance in tolerances:
        properties = tiers[tolerance.tier]["properties"]
        metric = (
            properties["custom"]["additionalProperties"]
            if tolerance.metric.startswith("custom.")
            else properties[tolerance.metric]
        )
        jsonschema.Draft202012Validator({**metric, "$defs": schema["$defs"]}).validate(
            tolerance.text
        )


if __name__ == "__main__":
    os.environ.pop("GATE_SPEC_ERRORS", None)
    for bad in BAD:
        bad.with_suffix(bad.suffix + ".txt").write_text(report(bad), encoding="utf-8")
