from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from gate import plugins
from gate.core.status import Tier
from gate.metrics.catalogue import CATALOGUE
from gate.spec import schema, schema_assembly
from gate.spec.nodes import plain
from gate.spec.reader import read_bytes
from gate.spec.validate import validate


@pytest.fixture(scope="module")
def published() -> Any:
    return json.loads(schema.committed_text())


def test_the_committed_file_is_up_to_date() -> None:
    assert schema.committed_text() == schema_assembly.serialise(schema_assembly.assemble()), (
        "run 'gate schema --write'"
    )


def test_it_is_a_schema_of_draft_2020_12(published: Any) -> None:
    assert published["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(published)


def objects(part: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            yield path, part
        for key, below in part.items():
            yield from objects(below, f"{path}/{key}")
    elif isinstance(part, list):
        for index, below in enumerate(part):
            yield from objects(below, f"{path}/{index}")


def test_every_object_with_known_keys_is_closed(published: Any) -> None:
    found = list(objects(published))
    assert len(found) > 40
    for path, part in found:
        assert part.get("additionalProperties") is False or "allOf" in part, path


def test_every_plugin_has_its_options(published: Any) -> None:
    for kind, (key, prefix, beside) in schema.KINDS.items():
        for name in plugins.BUILTIN[kind]:
            definition = published["$defs"][f"{prefix}-{name}"]
            assert definition["properties"][key] == {"const": name}
            assert set(beside) <= set(definition["properties"])


def test_every_metric_is_there_with_its_formula(published: Any) -> None:
    tiers = published["properties"]["tolerances"]["properties"]
    for info in CATALOGUE:
        assert info.formula in tiers[info.tier]["properties"][info.name]["description"]
    # Beside them stands the place of a spec's own metrics.
    assert sum(len(tiers[tier]["properties"]) for tier in Tier) == len(CATALOGUE) + 1
    assert "custom" in tiers[Tier.DEVICE]["properties"]


SPECS = [
    "run: {batch: 3}",
    "run: {batch: 0}",
    "runs: {}",
    "targets: {ort: {backend: onnxruntime, threads: 0}}",
    "targets: {ort: {backend: torch, engine: none}}",
    "targets: {ort: {threads: 2}}",
    "targets: {ort: 3}",
    "quantizations: {q: {method: none, x: 1}}",
    "quantizations: {q: {method: onnxruntime-static, calibrate: minmax}}",
    "quantizations: {q: {method: onnxruntime-static, calibrate: median}}",
    "quantizations: {q/q: {method: none}}",
    "data: {evaluation: {source: npz, path: a.npz, inputs: x, samples: ~}}",
    "data: {evaluation: {source: npz, path: a.npz}}",
    "data: {evaluation: {source: image-folder}}",
    "data: {evaluation: {source: sklearn-digits, skip: -1}}",
    "data: {preprocess: {resize: 256}, evaluation: {source: sklearn-digits}}",
    "data: {preprocess: {resize: [1]}, evaluation: {source: sklearn-digits}}",
    "model: {id: m, task: other, reference: {source: onnx, path: x}, inputs: {}}",
    "baseline: never",
    "tolerances: {}",
    "tolerances: {overrides: [{when: {}, because: x}]}",
    "version: 1",
    "version: 2",
]


@pytest.mark.parametrize("change", SPECS)
def test_the_gate_finds_a_mistake_exactly_where_the_published_schema_does(
    published: Any, small: str, change: str
) -> None:
    document = plain(_node(small))
    document.update(plain(_node(change)))
    whole = _node(json.dumps(document))
    accepted = jsonschema.Draft202012Validator(published).is_valid(plain(whole))
    assert (not validate(whole)) == accepted


def _node(text: str) -> Any:
    node, diagnostics = read_bytes(text.encode(), "a.yaml")
    assert not diagnostics
    return node


class Open:
    options_schema = {"type": "object"}  # noqa: RUF012


class Taken:
    options_schema = {  # noqa: RUF012
        "type": "object",
        "properties": {"threads": {}},
        "additionalProperties": False,
    }


class Referring:
    options_schema = {  # noqa: RUF012
        "type": "object",
        "properties": {"a": {"$ref": "#/x"}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("name", "message"),
    [("Open", "not a closed object"), ("Taken", "takes the key threads"), ("Referring", "ref")],
)
def test_a_plugin_with_an_unusable_schema_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    line = plugins.Plugin(f"{__name__}:{name}", "a test's")
    monkeypatch.setitem(plugins.BUILTIN["backends"], "unusable", line)
    monkeypatch.setitem(plugins.table("backends"), "unusable", line)
    with pytest.raises(schema.SchemaError, match=message):
        schema_assembly.assemble()


def test_a_plugin_whose_module_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    line = plugins.Plugin("gate.backends.absent:Absent", "missing")
    monkeypatch.setitem(plugins.BUILTIN["backends"], "absent", line)
    monkeypatch.setitem(plugins.table("backends"), "absent", line)
    with pytest.raises(schema.SchemaError, match=r"'absent' cannot be loaded from gate\.backends"):
        schema_assembly.assemble()


class Third:
    name = "third"
    formats = frozenset()
    options_schema = {  # noqa: RUF012
        "type": "object",
        "properties": {"speed": {"type": "integer"}},
        "additionalProperties": False,
    }


def test_names_of_third_parties_are_known_where_they_are_installed(
    monkeypatch: pytest.MonkeyPatch, small: str
) -> None:
    from gate.spec import validate as validate_module

    line = plugins.Plugin(f"{__name__}:Third", "from elsewhere")
    monkeypatch.setitem(plugins.table("backends"), "third", line)
    schema.current.cache_clear()
    validate_module._validator.cache_clear()
    try:
        assert not validate(
            _node(
                small.replace(
                    "ort-4: {backend: onnxruntime, threads: 4}", "t: {backend: third, speed: 3}"
                )
            )
        )
        found = validate(
            _node(
                small.replace(
                    "ort-4: {backend: onnxruntime, threads: 4}", "t: {backend: third, sped: 3}"
                )
            )
        )
        assert [d.hint for d in found] == ["did you mean 'speed'?"]
    finally:
        schema.current.cache_clear()
        validate_module._validator.cache_clear()
    assert '"third"' not in schema.committed_text()
