from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gate.cli.main import main
from gate.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    import pytest


def test_every_metric_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(CATALOGUE) + 2
    for info, line in zip(CATALOGUE, lines[2:], strict=True):
        assert line.startswith(f"{info.tier}.{info.name} ")
        assert f"{info.direction} is better" in line
        assert info.formula in line


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["metrics", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [(r["tier"], r["name"], r["unit"], r["direction"]) for r in records] == [
        (info.tier, info.name, info.unit, info.direction) for info in CATALOGUE
    ]
