"""``gate upgrade`` and ``gate bisect`` where a package or the accepted candidate is another."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate.core.artifact import Artifact, Format
from gate.models.onnx_files import inspect_onnx
from gate.run.artifacts import ArtifactStore, default_artifacts_dir
from tests.e2e.project import QUIET
from tests.github.project import SPEC, make
from tests.wheels import write_wheel

CASE = "digits/per-channel@ort-cpu"
PACKAGE = "gatetestpackage"
TURN = 5
# Only numbers are asked for: no time is spent on timing.
QUICK = SPEC[: SPEC.index("  layers:")]
SCORES = f"""
import numpy as np


def score(outputs, truths, inputs):
    import {PACKAGE}

    return np.full(len(outputs["logits"]), {PACKAGE}.SCORE)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "project")


@pytest.fixture
def folder(tmp_path: Path, made: Path) -> Path:
    shutil.copytree(made, tmp_path / "project")
    return tmp_path / "project"


def _gate(folder: Path, *words: str, **variables: str) -> tuple[int, Any, str]:
    """Exit code, the document, and what was said beside it."""
    done = subprocess.run(
        [sys.executable, "-m", "gate.cli.main", *words, "--json"],
        cwd=folder,
        env={**os.environ, **QUIET, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_the_version_of_a_package_is_found(folder: Path, tmp_path: Path) -> None:
    (folder / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["scores"]\n')
    (folder / "scores.py").write_text(SCORES)
    metric = '{score: {entry: "scores:score", unit: dB, direction: higher}}'
    text = QUICK.replace("baseline: require", f"baseline: ignore\nmetrics: {metric}")
    text = text.replace(', ">= baseline - 1 dB"', "")
    (folder / "specs" / "digits.yaml").write_text(
        f'{text}  device: {{custom: {{score: ">= 30 dB"}}}}\n'
    )
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for number in (1, 2, 4, 5, 6):
        score = 20.0 if number >= TURN else 40.0
        write_wheel(wheels, PACKAGE, f"{number}.0", {f"{PACKAGE}.py": f"SCORE = {score}\n"})
    code, found, said = _gate(
        folder,
        *("bisect", "specs/digits.yaml", "--case", CASE, "--package", PACKAGE),
        *("--versions", "6.0,1.0,2.0,3.0,4.0,5.0", "--good", "1.0", "--bad", "6.0"),
        *("--check", "custom.score", "--repeats", "1"),
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
    )
    assert code == 0, said
    assert found["history"] == [f"{number}.0" for number in range(1, 7)]
    assert (found["last_good"], found["first_bad"]) == ("4.0", "5.0")
    assert found["skipped_between"] == []
    # Both ends, then the middle of what is left: log2 of the five gaps.
    assert found["outcomes"] == {
        "1.0": "good",
        "6.0": "bad",
        "3.0": "skip",
        "4.0": "good",
        "5.0": "bad",
    }
    told = [line for line in said.splitlines() if line.endswith("more)")]
    assert told[2] == f"{PACKAGE} 3.0: testing (about 3 more)"
    assert f"{PACKAGE} 3.0: skip: cannot be installed:" in said
    assert f"{PACKAGE} 5.0: bad: device.custom.score of case: " in said


def test_the_accepted_candidate_is_run_where_it_is_kept(folder: Path) -> None:
    (folder / "specs" / "digits.yaml").write_text(QUICK)
    spec = ("specs/digits.yaml", "--select", CASE)
    code, _, said = _gate(folder, "baseline", "update", *spec, "--reason", "first")
    assert code == 0, said
    candidate, accepted = folder / "specs" / "per_channel.onnx", folder / "accepted.onnx"
    candidate.rename(accepted)
    artifact = Artifact(
        format=Format.ONNX,
        path=accepted,
        sha256=inspect_onnx(accepted).sha256,
        size_bytes=accepted.stat().st_size,
        producer="candidate",
        options={},
    )
    shutil.copyfile(folder / "specs" / "per_tensor.onnx", candidate)
    words = ("upgrade", "--new", sys.executable, "--specs", *spec)
    _, found, said = _gate(folder, *words)
    (told,) = found["cases"]
    assert list(told["cells"]) == ["old-made", "new-stored", "new-made"], said
    assert told["causes"] == ["unchanged"]
    (note,) = told["notes"]
    assert note == (
        f"the accepted candidate {artifact.sha256[:12]} cannot be had: it is not kept here;"
        " the old stack's own stands for it"
    )

    assert ArtifactStore(default_artifacts_dir(folder)).keep(artifact)
    code, found, said = _gate(folder, *words, "--update-baselines", "--accept-worse", "*")
    assert code == 0, said
    (told,) = found["cases"]
    assert list(told["cells"]) == ["old-made", "new-stored", "new-made", "old-stored"]
    sqnr = {cell: figures["sqnr_db"] for cell, figures in told["cells"].items()}
    assert sqnr["old-stored"] == sqnr["new-stored"] != sqnr["new-made"] == sqnr["old-made"]
    assert told["causes"] == ["quantizer changed"]
    assert told["notes"] == []
    assert found["left_out"] == []
    (file,) = (folder / "baselines").rglob("*.json")
    baseline = json.loads(file.read_text())
    assert baseline["artifacts"]["candidate"] == inspect_onnx(candidate).sha256
    cause = f"quantizer changed: {told['findings'][0]['detail']}"
    title = "upgrade: both stacks have the same versions"
    assert baseline["provenance"]["reason"] == f"{title}: {cause}"
