from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gate.cli.main import main

SPECS = Path(__file__).parents[2] / "spec_errors"

LOADED = """
import sys
from gate.cli.main import main
code = main({arguments!r})
heavy = ("torch", "onnx", "onnxruntime", "numpy", "sklearn", "PIL", "cattrs", "rich", "tabulate")
print(*(name for name in heavy if name in sys.modules))
sys.exit(code)
"""


@pytest.fixture(autouse=True)
def _there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SPECS)


def test_good_specs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "good/extended.yaml"]) == 0
    assert main(["lint", "good"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 spec ok",
        f"{len(list((SPECS / 'good').iterdir()))} specs ok",
    ]


def test_bad_specs_are_told_with_their_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "bad/unknown_metric.yaml", "good", "bad/direction.yaml"]) == 2
    captured = capsys.readouterr()
    expected = (SPECS / "bad/unknown_metric.yaml.txt").read_text()
    assert captured.out == expected + (SPECS / "bad/direction.yaml.txt").read_text()
    assert captured.err == "3 errors in 2 files\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--json", "bad/unknown_metric.yaml"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "ok": False,
        "specs": None,
        "diagnostics": [
            {
                "file": "bad/unknown_metric.yaml",
                "line": 4,
                "column": 5,
                "path": "tolerances.device.top1_dropp",
                "message": "unknown metric of the tier device",
                "hint": "did you mean 'top1_drop'?",
            }
        ],
    }
    assert main(["lint", "--json", "good"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert document["diagnostics"] == []


@pytest.mark.parametrize(
    ("arguments", "code"), [(["lint", "good"], 0), (["lint", "bad"], 2), (["schema"], 0)]
)
def test_no_framework_is_loaded(arguments: list[str], code: int) -> None:
    script = LOADED.format(arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == ""
