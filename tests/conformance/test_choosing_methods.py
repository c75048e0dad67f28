"""Methods that choose among others: what the quantizer kit asks of every method, without its candidates.

What they come to is made by a quantizer that passes the kit; ``tests/e2e/test_choose.py`` runs them.
"""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.quantize.base import QuantizeError
from gate.spec.choosing import NESTED
from gate.testing.checks import assert_closed_object_schema, assert_says_why, loads_no_framework
from gate.testing.tiny import target_for, tiny_batches, tiny_model

OPTIONS = {"ladder": {"rungs": ["torch-dynamic"]}, "search": {"of": "torch-fx-static"}}


def test_these_are_all_of_them() -> None:
    assert set(OPTIONS) == set(NESTED)


@pytest.mark.parametrize("name", OPTIONS)
def test_import_loads_no_framework(name: str) -> None:
    assert loads_no_framework("quantizers", name) == []


@pytest.mark.parametrize("name", OPTIONS)
def test_option_schema_is_closed(name: str) -> None:
    plugin = plugins.load("quantizers", name)
    assert plugin.name == name
    assert_says_why(plugin.unavailable())
    assert_closed_object_schema(plugin.options_schema)
    jsonschema.validate(OPTIONS[name], plugin.options_schema)


@pytest.mark.parametrize("name", OPTIONS)
def test_without_a_case_it_refuses_and_writes_nothing(name: str, tmp_path: Path) -> None:
    """There are no tolerances to choose by: a guess would be a silent one."""
    folder = tmp_path / "model"
    folder.mkdir()
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(QuantizeError, match="use it in a spec"):
        plugins.load("quantizers", name).quantize(
            tiny_model(Format.ONNX, folder),
            lambda: iter(tiny_batches()),
            options=OPTIONS[name],
            target=target_for("onnxruntime", {}),
            seed=0,
            out_dir=out,
        )
    assert list(out.iterdir()) == []
