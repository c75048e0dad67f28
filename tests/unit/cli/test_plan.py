from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate.cli.main import main
from gate.cli.plan import Past, duration, past_runs

SPECS = Path(__file__).parents[2] / "spec_errors"

MIXED = """\
extends: base.yaml
id: mixed
requires: {env: [GATE_TEST_PLAN], install: set it}
model: {reference: {source: onnx, path: x.onnx}}
quantizations: {float: {method: none}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATE_TEST_PLAN", raising=False)
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\n")
    (tmp_path / "base.yaml").write_text((SPECS / "_base.yaml").read_text())
    (tmp_path / "mixed.yaml").write_text(MIXED)
    return tmp_path


def record(case_id: str, seconds: dict[str, float] | None) -> dict[str, Any]:
    observation = (
        None
        if seconds is None
        else {
            "stage_seconds": seconds,
            "samples_planned": 797,
        }
    )
    return {"case": {"id": case_id}, "observation": observation}


def store(project: Path, run: str, name: str, content: str, age: int = 0) -> None:
    file = project / ".gate/runs" / run / "results" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    os.utime(file, (1e9 - age, 1e9 - age))


def test_what_each_case_will_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store(
        project, "1", "a.json", json.dumps(record("base/static@ort", {"open": 1.5, "device": 70.6}))
    )
    assert main(["plan", "base.yaml"]) == 0
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows[0] == [
        "case",
        "method",
        "backend",
        "tiers",
        "bounds",
        "evaluated",
        "calibration",
        "time",
    ]
    assert rows[2] == [
        "base/static@ort",
        "onnxruntime-static",
        "onnxruntime",
        "numerical device",
        "2",
        "797",
        "64",
        "1 min 12 s",
    ]
    assert rows[3][-3:-1] == ["all", "-"]
    guess = re.fullmatch(r"~ (\d+) s", rows[3][-1])
    assert guess
    ending = re.fullmatch(
        r"2 cases, 2 run here; time about 1 min (\d+) s \(1 estimated, as they have not run here yet\)",
        rows[-1][0],
    )
    assert ending
    assert abs(60 + int(ending[1]) - (72.1 + int(guess[1]))) <= 1


def test_skipped_cases_say_why(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mixed.yaml"]) == 0
    out = capsys.readouterr().out
    assert (
        "  mixed/static@ort: the environment variable GATE_TEST_PLAN is not set (set it)\n" in out
    )
    assert out.endswith("3 cases, 0 run here\n")


def test_pairs_that_cannot_exist_say_why(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "torch.yaml").write_text(
        "extends: base.yaml\n"
        "quantizations: {fx: {method: torch-fx-static}}\n"
        "targets: {torch: {backend: torch, engine: x86}}\n"
    )
    text = (project / "base.yaml").read_text()
    (project / "base.yaml").write_text(
        text.replace("{source: onnx, path: digits.onnx}", '{source: python, entry: "specs.m:cnn"}')
    )
    assert main(["plan", "torch.yaml"]) == 0
    out = capsys.readouterr().out
    assert "torch/fx@torch " in out
    assert " torch/x86 " in out
    reason = "torch-fx-static writes torch-quantized, onnxruntime opens onnx"
    assert (
        "not applicable:\n  torch/static@torch: onnxruntime-static writes onnx, torch opens" in out
    )
    assert f"  torch/fx@ort: {reason}\n" in out


def test_no_framework_is_loaded(project: Path) -> None:
    text = "extends: base.yaml\ntargets: {torch: {backend: torch, engine: x86}}\n"
    (project / "torch.yaml").write_text(text + "quantizations: {float: {method: none}}\n")
    base = (project / "base.yaml").read_text()
    reference = '{source: python, entry: "specs.m:cnn"}'
    (project / "base.yaml").write_text(base.replace("{source: onnx, path: digits.onnx}", reference))
    script = (
        "import sys; from gate.cli.main import main; code = main(['plan', 'torch.yaml'])\n"
        "sys.exit(code or ' '.join({'torch', 'onnx', 'onnxruntime', 'sklearn'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "torch/float@torch" in done.stdout


def test_json(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "mixed.yaml", "--json", "--select", "mixed/static@*"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["not_applicable"] == []
    (case,) = document["cases"]
    assert case["id"] == "mixed/static@ort"
    assert case["evaluation"] == {"source": "sklearn-digits", "samples": None, "skip": 0}
    assert case["calibration"] == {"source": "sklearn-digits", "samples": 64, "skip": 0}
    assert case["tolerances"][0] == {
        "tier": "numerical",
        "metric": "relative_mse",
        "subjects": None,
        "bound": "< 1 %",
    }
    assert case["skipped"].startswith("the environment variable GATE_TEST_PLAN")
    assert case["seconds"] is None
    assert case["estimated_seconds"] > 1


def test_mistakes_end_with_code_2(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "base.yaml", "--select", "nothing"]) == 2
    assert "'nothing' selects no case" in capsys.readouterr().err
    (project / "bad.yaml").write_text("version: 2\n")
    assert main(["plan", "bad.yaml"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("bad.yaml:1:1: the key 'model' is missing\n")
    assert captured.out == ""


def test_the_latest_run_counts_and_unreadable_ones_are_counted(project: Path) -> None:
    store(project, "1", "a.json", json.dumps(record("s/a@t", {"x": 1.0})), age=5)
    store(project, "2", "a.json", json.dumps(record("s/a@t", {"x": 2.0, "y": 3})), age=1)
    store(project, "3", "a.json", json.dumps(record("s/a@t", None)))
    store(project, "3", "b.json", "{")
    store(project, "3", "c.json", "[]")
    store(project, "3", "sub/d.json", json.dumps(record("s/d@t", {"x": "1"})))
    assert past_runs(project / ".gate/runs") == (
        {"s/a@t": Past(seconds=5.0, samples=797)},
        3,
    )
    assert past_runs(project / "absent") == ({}, 0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "1 s"), (59.4, "59 s"), (60.0, "1 min 0 s"), (3700.0, "61 min 40 s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


DROPS = """\
extends: base.yaml
id: drops
data: {evaluation: {source: sklearn-digits, samples: 200}}
tolerances: {device: {top1_drop: ["< 1 pp", {bound: "< 2 pp", mode: certify}, "<= baseline + 1 pp"]}}
"""


def test_the_plan_says_how_many_samples_a_certificate_needs(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "drops.yaml").write_text(DROPS)
    assert main(["plan", "drops.yaml"]) == 0
    out = capsys.readouterr().out
    assert "samples that certify a drop, with 90 % power if there is none:" in out
    (exact,) = [line for line in out.splitlines() if "< 1 pp" in line]
    assert "at 2 % of flips" in exact
    assert "4366 at 5 % of flips, 299 without any; there are 200: exact" in exact
    (certify,) = [line for line in out.splitlines() if "< 2 pp" in line]
    assert "149 without any; there are 200: certify (" in certify
    assert main(["plan", "drops.yaml", "--json"]) == 0
    case = json.loads(capsys.readouterr().out)["cases"][0]
    assert [(c["bound"], c["mode"], c["least"]) for c in case["certificates"]] == [
        ("< 1 pp", "exact", 299),
        ("< 2 pp", "certify", 149),
    ]


def test_the_plan_warns_of_a_certificate_that_cannot_be_had(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "drops.yaml").write_text(DROPS.replace("samples: 200", "samples: 148"))
    assert main(["plan", "drops.yaml"]) == 0
    assert "there are 148: certify, which cannot pass" in capsys.readouterr().out
    (project / "drops.yaml").write_text(DROPS.replace(", samples: 200", ""))
    assert main(["plan", "drops.yaml"]) == 0
    assert "shows in the first run: auto" in capsys.readouterr().out
