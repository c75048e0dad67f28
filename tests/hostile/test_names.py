"""Names that would mean something to a shell, a terminal, Markdown or HTML: refused, and shown harmlessly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate.cli.main import main
from gate.core.status import ExitCode
from gate.spec.diagnostics import SpecError
from gate.spec.load import load_specs
from gate.tiers.reproduce import _write
from tests.unit.run.project import make_project, spec_of

HOSTILE = {
    "command": "$(touch pwned)",
    "backquotes": "`touch pwned`",
    "separator": "a; touch pwned",
    "pipe": "a|b",
    "redirection": "a > pwned",
    "option": "-rf",
    "quote": "a'b\"c",
    "line": "a\nb",
    "last line": "digits\n",
    "nothing": "",
    "climbs": "../../pwned",
    "absolute": "/pwned",
    "hidden": ".hidden",
    "at": "a@b",
    "terminal": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;pwned\x07",
    "backspaces": "fail\b\b\b\bpass",
    "direction": "a\u202eb",
    "markup": "<script>alert(1)</script>",
    "markdown": "[pass](javascript:alert(1))",
    "workflow command": "::error::forged",
    "variable": "${HOME}",
    "nul": "a\0b",
    "look-alike": "d\u0456gits",
}
PLACES = ("id", "model.id", "model.inputs", "quantizations", "targets")


def renamed(place: str, name: str) -> dict[str, Any]:
    """A spec that is right but for one name."""
    spec = spec_of("good")
    if place == "id":
        return {**spec, "id": name}
    if place == "model.id":
        return {**spec, "model": {**spec["model"], "id": name}}
    if place == "model.inputs":
        model = {**spec["model"], "inputs": {name: spec["model"]["inputs"]["x"]}}
        return {**spec, "model": model}
    return {**spec, place: {name: next(iter(spec[place].values()))}}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("place", PLACES)
def test_refused_wherever_a_spec_has_a_name(
    place: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(renamed(place, name)))
    with pytest.raises(SpecError, match=place.split(".", maxsplit=1)[0]):
        load_specs([str(path)])
    assert main(["lint", str(path)]) == ExitCode.USAGE
    said = "".join(capsys.readouterr())
    assert "a.json:1:" in said
    shown = said.replace("\n", "")
    assert all(c.isprintable() for c in shown), f"control characters were printed: {said!r}"


def test_ordinary_names_are_taken(tmp_path: Path) -> None:
    for place in PLACES:
        (tmp_path / "a.json").write_text(json.dumps(renamed(place, "Digits_cnn-8.int8")))
        assert load_specs([str(tmp_path / "a.json")])


@pytest.mark.parametrize(
    "name", ["$(touch pwned)", "\x1b[31mred", "<b>a", "a;b", "-rf", "::error::"]
)
def test_file_names_are_no_ids_and_are_shown_without_controls(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps(spec_of("good")))
    assert main(["lint", str(tmp_path)]) == ExitCode.USAGE
    said = "".join(capsys.readouterr())
    assert "give the spec an id" in said
    assert "\x1b" not in said


BREAKS_OUT = 'a"""\nopen("pwned", "w")\n"""'


@pytest.mark.parametrize("layer", [BREAKS_OUT, "a'''\"\"\";open('pwned','w')#", "a\rb", "{inputs}"])
def test_a_layer_s_name_is_no_code_in_the_script_that_reproduces_it(
    layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gate.backends.isolation import Saved

    saved = Saved(file="layer.onnx", packages=("numpy",), runs="got = inputs[0]")
    value = np.ones(3, np.float32)
    _write(tmp_path, layer, operands=[value], expected=value, got=value, saved=saved, about=())
    script = (tmp_path / "repro.py").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "repro.py", "exec"), {"__file__": str(tmp_path / "repro.py")})  # noqa: S102 - the test's own point
    assert not (tmp_path / "pwned").exists()
    assert script.startswith("# Runs layer ")


def test_a_project_is_left_as_it_was(tmp_path: Path) -> None:
    """A spec whose names are commands runs none, not even where its cases are planned."""
    make_project(tmp_path / "p")
    before = sorted(path.name for path in (tmp_path / "p").iterdir())
    (tmp_path / "p" / "a.json").write_text(json.dumps(renamed("targets", "$(touch pwned)")))
    assert main(["plan", str(tmp_path / "p" / "a.json")]) == ExitCode.USAGE
    after = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert after == sorted([*before, "a.json"])
