"""A spec with a stand-in: which of the two runs, and that they share neither cases nor baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gate.core.convert import from_plain, to_plain
from gate.core.spec import Spec, StandIn
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from gate.spec.skips import skip_reason

Write = Callable[[str, str], Path]

NAMED = """\
version: 1
requires: {env: [GATE_TEST_WEIGHTS], install: fetch them}
model:
  id: net
  task: image-classification
  reference:
    source: torchvision
    name: resnet18
    weights: {path: "${GATE_TEST_WEIGHTS}/net-00000000.pth", format: torch, sha256_prefix: "00000000"}
  inputs: {image: {shape: [N, 3, 224, 224], dtype: float32}}
data:
  preprocess: {decode: rgb, resize: 256, crop: 224}
  evaluation: {source: image-folder, path: "${GATE_TEST_WEIGHTS}/images"}
quantizations: {q: {method: torch-dynamic, modules: [Linear]}}
targets: {t: {backend: torch, engine: x86}}
tolerances:
  numerical: {finite: true}
  device: {top1_drop: "< 1 pp", size: "<= 0.3 x reference"}
"""
STAND_IN = """\
stand_in:
  because: not on every machine
  model:
    reference: {source: torchvision, name: resnet18}
    inputs: {rows: {shape: [N, 8, 8], dtype: float32}}
  data:
    preprocess: {scale: 0.5}
    evaluation: {source: sklearn-digits, split: test}
  quantizations: {more: {method: onnxruntime-dynamic}}
  targets: {ort: {backend: onnxruntime}}
  tolerances: {device: {top1_drop: "< 2 pp"}}
"""


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GATE_TEST_WEIGHTS", raising=False)


def the_one(write: Write, text: str) -> Spec:
    write("net_spec.yaml", text)
    (spec,) = load_specs(["net_spec.yaml"])
    return spec


def test_without_the_variable_the_stand_in_runs_and_says_so(write: Write) -> None:
    spec = the_one(write, NAMED + STAND_IN)
    assert spec.id == "net_spec.stand-in"
    assert spec.model.id == "net.stand-in"
    assert spec.model.options == {"name": "resnet18"}
    assert list(spec.model.inputs) == ["rows"]
    assert spec.data.preprocess == {"scale": 0.5}
    assert spec.data.evaluation.source == "sklearn-digits"
    assert not spec.requires.env
    assert [(t.metric, t.text) for t in spec.tolerances] == [
        ("finite", "true"),
        ("top1_drop", "< 2 pp"),
        ("size", "<= 0.3 x reference"),
    ]
    assert spec.stand_in == StandIn(
        ran=True,
        because="not on every machine",
        absent="the environment variable GATE_TEST_WEIGHTS is not set (fetch them)",
    )
    cases = plan([spec]).cases
    assert [case.id for case in cases] == [
        "net_spec.stand-in/q@t",
        "net_spec.stand-in/more@ort",
    ]
    assert {case.stand_in for case in cases} == {spec.stand_in}
    assert from_plain(type(cases[0]), to_plain(cases[0])) == cases[0]


def test_the_file_of_the_weights_decides_where_the_variable_is_set(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_TEST_WEIGHTS", str(tmp_path))
    spec = the_one(write, NAMED + STAND_IN)
    assert spec.stand_in is not None
    assert spec.stand_in.absent == "there is no file ${GATE_TEST_WEIGHTS}/net-00000000.pth"
    assert str(tmp_path) not in spec.stand_in.note
    (tmp_path / "net-00000000.pth").write_bytes(b"any")
    named = the_one(write, NAMED + STAND_IN)
    assert (named.id, named.model.id) == ("net_spec", "net")
    assert named.stand_in is not None
    assert not named.stand_in.ran
    assert list(named.model.inputs) == ["image"]


def test_the_two_share_no_case_and_the_named_one_has_the_digest_it_always_had(
    write: Write, tmp_path: Path
) -> None:
    write("net_spec.yaml", NAMED + STAND_IN)
    named, other = load_specs(["net_spec.yaml"], both=True)
    assert (named.id, other.id) == ("net_spec", "net_spec.stand-in")
    assert named.digest != other.digest
    assert not {c.id for c in plan([named]).cases} & {c.id for c in plan([other]).cases}
    write("net_spec.yaml", NAMED)
    (alone,) = load_specs(["net_spec.yaml"])
    assert alone.digest == named.digest
    assert alone == replace(named, stand_in=None)


def test_a_stand_in_may_come_from_a_shared_file(write: Write) -> None:
    write("_shared.yaml", STAND_IN)
    spec = the_one(write, "extends: _shared.yaml\n" + NAMED)
    assert spec.id == "net_spec.stand-in"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "scale: 0.5",
            "scael: 0.5",
            "net_spec.yaml:25:18: stand_in.data.preprocess.scael: unknown",
        ),
        ("  because: not on every machine\n", "", "stand_in: the key 'because' is missing"),
        ("top1_drop: ", "top1_dorp: ", "stand_in.tolerances.device.top1_dorp: unknown metric"),
        ("name: resnet18", "nmae: resnet18", "stand_in.model.reference"),
        ("  data:", "  baseline: ignore\n  data:", "stand_in.baseline: unknown key"),
    ],
)
def test_mistakes_are_told_at_their_place_whichever_runs(
    write: Write, monkeypatch: pytest.MonkeyPatch, old: str, new: str, told: str
) -> None:
    assert old in STAND_IN
    write("net_spec.yaml", NAMED + STAND_IN.replace(old, new))
    weights = write("net-00000000.pth", "any")
    for value in ("", str(weights.parent)):
        monkeypatch.setenv("GATE_TEST_WEIGHTS", value)
        with pytest.raises(SpecError) as caught:
            load_specs(["net_spec.yaml"])
        assert told in str(caught.value)


def test_a_mistake_of_both_is_told_once(write: Write) -> None:
    write("net_spec.yaml", NAMED.replace("finite: true", "finit: true") + STAND_IN)
    with pytest.raises(SpecError) as caught:
        load_specs(["net_spec.yaml"])
    assert len(caught.value.diagnostics) == 1


def test_where_no_stand_in_is_wanted_the_named_cases_are_skipped_for_what_is_absent(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("net_spec.yaml", NAMED + STAND_IN)

    def reasons() -> dict[str, str | None]:
        specs = load_specs(["net_spec.yaml"], stand_ins=False)
        return {case.id: skip_reason(case, probe=False) for case in plan(specs).cases}

    assert reasons() == {
        "net_spec/q@t": "the environment variable GATE_TEST_WEIGHTS is not set (fetch them); no stand-in"
        " is wanted"
    }
    monkeypatch.setenv("GATE_TEST_WEIGHTS", str(tmp_path))
    assert reasons() == {
        "net_spec/q@t": "there is no file ${GATE_TEST_WEIGHTS}/net-00000000.pth; no stand-in is wanted"
    }
    (tmp_path / "net-00000000.pth").write_bytes(b"any")
    assert reasons() == {"net_spec/q@t": None}


def test_both_are_told_apart(write: Write) -> None:
    write("net_spec.yaml", NAMED + STAND_IN)
    found = [spec.stand_in for spec in load_specs(["net_spec.yaml"], both=True)]
    assert [one.ran for one in found if one is not None] == [False, True]
