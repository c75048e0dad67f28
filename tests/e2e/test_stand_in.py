"""A spec with a stand-in, run for real on a machine with and without its weights, with the table of modes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.github import project

STAND_IN = """
requires: {env: [GATE_TEST_MODELS], install: copy them}
stand_in:
  because: "large models are not shipped"
  model: {reference: {source: onnx, path: float.onnx}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = project.make(tmp_path_factory.mktemp("stand-in") / "project")
    text = project.SPEC.replace("  reference: {source: onnx, path: float.onnx}\n", "")
    text = text.replace(
        "model:\n",
        'model:\n  reference: {source: onnx, path: "${GATE_TEST_MODELS}/large.onnx"}\n',
        1,
    )
    text = text.replace("  per-tensor: {method: candidate, path: per_tensor.onnx}\n", "")
    text = text.replace("processes: 6", "processes: 2")
    (made / "specs" / "digits.yaml").write_text(text + STAND_IN)
    return made


def gate(folder: Path, words: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    quiet = {"NO_COLOR": "1", "CI": "", "GITHUB_ACTIONS": "", "GITHUB_STEP_SUMMARY": ""}
    environment = {k: v for k, v in os.environ.items() if k != "GATE_TEST_MODELS"}
    return subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *words],
        cwd=folder,
        env={**environment, **quiet, "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_run_under_names_of_their_own_and_say_which_they_are(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "specs" / "float.onnx", tmp_path / "large.onnx")
    common = ["run", "specs", "--baseline-policy", "record", "--quiet"]
    without = gate(folder, [*common, "--table", "--table-file", "modes.md"])
    assert without.returncode == 0, without.stdout + without.stderr
    assert "digits.stand-in: digits-mlp.stand-in, image-classification, the declared stand-in" in (
        without.stdout
    )
    told = " ".join(without.stdout.split())
    assert "GATE_TEST_MODELS is not set (copy them) (large models are not shipped)" in told

    # The reference's own row, memory included, which takes a process of its own.
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (folder / "modes.md").read_text().splitlines()
        if line.startswith("| ")
    ]
    assert [row[0] for row in rows] == [
        "mode",
        "float32 &#64; ort-cpu",
        "per-channel &#64; ort-cpu",
    ]
    reference, candidate = rows[1], rows[2]
    assert reference[-1] == "reference"
    assert all(reference[column].endswith("MB") for column in (7,))
    assert [cell for cell in candidate if cell == "-"] == []
    assert candidate[-1] == "PASS"

    # A machine that must have the model forbids the other one.
    forbidden = ["run", "specs", "--no-stand-ins", "--quiet"]
    assert gate(folder, forbidden).returncode == 3  # nothing was judged
    required = gate(folder, [*forbidden, "--require"])
    assert required.returncode == 1, required.stdout + required.stderr
    assert "GATE_TEST_MODELS is not set (copy them); no stand-in is wanted" in " ".join(
        (required.stdout + required.stderr).split()
    )

    found = gate(folder, [*common, "--json"], GATE_TEST_MODELS=str(tmp_path))
    assert found.returncode == 0, found.stdout + found.stderr
    (case,) = json.loads(found.stdout)["cases"]
    assert case["id"] == "digits/per-channel@ort-cpu"
    assert "the model is the one that the spec names, not its stand-in" in case["notes"]
    recorded = {path.name for path in (folder / "baselines").iterdir()}
    assert recorded == {"digits", "digits.stand-in"}

    # Neither owns the other's baselines, and both have an owner wherever it is asked.
    verified = gate(folder, ["baseline", "verify", "specs"])
    assert verified.returncode == 0, verified.stdout + verified.stderr
    pruned = gate(folder, ["baseline", "prune", "specs"])
    assert "no baseline unused" in pruned.stdout or "0 baselines unused" in pruned.stdout


def test_a_damaged_file_of_weights_is_no_absent_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "large.onnx").write_bytes(b"damaged")
    done = gate(
        folder, ["run", "specs", "--baseline-policy", "ignore", "--quiet"],
        GATE_TEST_MODELS=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 3, done.stdout
    assert "digits/per-channel@ort-cpu" in done.stdout
    assert "stand-in/" not in done.stdout
