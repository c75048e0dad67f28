"""``gate init``: the spec it writes is valid, complete, and passes what it was measured from."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from gate.cli.main import main
from gate.core.baseline import BaselineMissing
from gate.core.spec import InputSpec
from gate.core.status import ExitCode, Status, Tier
from gate.judge.results import verdict_of
from gate.models.base import ModelError
from gate.models.onnx_inputs import declared_inputs
from gate.run.store import read_run
from gate.spec.first import Bound, FirstSpec, Mode, render
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.github.project import make as make_digits
from tests.unit.run.project import make_project


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny.onnx, whose input is x: N x 4."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_onnx_file_gets_a_spec_whose_first_run_passes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = make_digits(project / "digits") / "specs"
    with np.load(made / "data.npz") as data:
        np.savez(project / "real.npz", x=data["x"], labels=data["y"])
    shutil.copy(made / "float.onnx", project / "mlp.onnx")
    shutil.rmtree(project / "digits")
    assert main(["init", "mlp.onnx", "--data", "real.npz", "--repeats", "1"]) == ExitCode.PASS
    said = capsys.readouterr()
    (spec,) = load_specs(["specs"])
    assert spec.id == "mlp"
    assert spec.model.task == "image-classification"
    assert spec.baseline_policy == "record"
    text = (project / "specs" / "mlp.yaml").read_text()
    # What does not work is said in the file: nothing is left out silently.
    for mode in ("ort-static", "ort-dynamic"):
        kept = any(q.name == mode for q in spec.quantizations)
        assert kept or f"# left out: {mode}: " in text, said.err
    bounded = {(t.tier, t.metric) for case in plan([spec]).cases for t in case.tolerances}
    assert {(Tier.NUMERICAL, "sqnr"), (Tier.LAYERS, "quantized_ops")} <= bounded
    (observed, *_) = read_run(project / ".gate" / "runs" / "latest")
    assert observed.observation is not None
    # Judged by what was written, the run that it was taken from passes.
    by_id = {case.id: case for case in plan([spec]).cases}
    for result in read_run(project / ".gate" / "runs" / "latest"):
        now = replace(by_id[result.case.id], baseline_policy="ignore")
        verdict = verdict_of(replace(result, case=now), BaselineMissing(path=""))
        assert verdict.status is Status.PASS


def test_a_mode_that_gains_nothing_is_left_out_with_its_reason(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twelve weights take less room as floats than with their scales."""
    assert main(["init", "tiny.onnx", "--repeats", "1"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "no mode works for this model" in told
    assert "device: size_ratio = " in told
    assert "draft" not in told


def test_without_data_random_numbers_are_made_and_called_so(project: Path) -> None:
    assert main(["init", "tiny.onnx", "--no-run"]) == ExitCode.PASS
    text = (project / "specs" / "tiny.yaml").read_text()
    assert "RANDOM NUMBERS" in text
    with np.load(project / "specs" / "data" / "tiny_random.npz") as data:
        assert data["x"].shape == (128, 4)
    (spec,) = load_specs(["specs"])
    assert spec.model.task == "other"
    # Calibration and evaluation are drawn apart.
    assert spec.data.calibration is not None
    assert spec.data.calibration.samples == spec.data.evaluation.skip == 64
    assert spec.data.calibration.seed == spec.data.evaluation.seed == 0


def test_a_spec_that_is_there_is_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "specs").mkdir()
    (project / "specs" / "tiny.yaml").write_text("mine")
    assert main(["init", "tiny.onnx", "--no-run"]) == ExitCode.USAGE
    assert "--force replaces it" in capsys.readouterr().err
    assert (project / "specs" / "tiny.yaml").read_text() == "mine"
    assert main(["init", "tiny.onnx", "--no-run", "--force"]) == ExitCode.PASS


def test_a_torchvision_model_and_an_entry_are_known_by_name(project: Path) -> None:
    assert main(["init", "resnet18", "--no-run"]) == ExitCode.PASS
    (spec,) = load_specs(["specs/resnet18.yaml"])
    assert spec.model.source == "torchvision"
    assert spec.model.inputs["image"].shape == ("N", 3, 224, 224)
    assert {q.method for q in spec.quantizations} >= {"torch-fx-static", "onnxruntime-static"}
    words = ["faults:good", "--input", "x=3,8,8", "--no-run", "--out", "specs/mine.yaml"]
    assert main(["init", *words]) == ExitCode.PASS
    (spec,) = load_specs(["specs/mine.yaml"])
    assert (spec.model.source, spec.model.options["entry"]) == ("python", "faults:good")
    assert spec.model.inputs["x"].shape == ("N", 3, 8, 8)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing_like_it"], "no torchvision model"),
        (["missing.onnx"], "no such ONNX file"),
        (["faults:good"], "--input NAME=3,224,224"),
        (["tiny.onnx", "--input", "x"], "expected NAME=3,224,224"),
        (["tiny.onnx", "--data", "tiny.onnx"], "neither a folder nor an .npz file"),
        (["tiny.onnx", "--data", "other.npz"], "has no array for the input x"),
    ],
)
def test_what_cannot_be_made_a_spec_of_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    np.savez(project / "other.npz", z=np.zeros(3))
    assert main(["init", *words, "--no-run"]) == ExitCode.USAGE
    assert told in capsys.readouterr().err
    assert not list((project).glob("specs/*.yaml"))


def test_axes_that_are_not_known_are_asked_for(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "h", "w"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, "h", "w"])
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["y"])], "g", [value], [out])
    save(helper.make_model(graph), "free.onnx")
    assert declared_inputs(Path("free.onnx")) == {
        "image": InputSpec(shape=("N", 3, "h", "w"), dtype="float32")
    }
    assert main(["init", "free.onnx", "--no-run"]) == ExitCode.USAGE
    assert "--input image=" in capsys.readouterr().err
    assert main(["init", "free.onnx", "--no-run", "--input", "image=3,8,8"]) == ExitCode.PASS
    with pytest.raises(ModelError):
        declared_inputs(Path("pyproject.toml"))


def test_strings_that_yaml_would_read_as_something_else_are_quoted(tmp_path: Path) -> None:
    spec = FirstSpec(
        schema="",
        model_id="on",
        task="other",
        reference={"source": "onnx", "path": "a: b#c.onnx"},
        inputs={"x": InputSpec(shape=("N", 4), dtype="float32")},
        calibration={"source": "npz", "path": "1e5", "inputs": {"x": "no"}, "samples": 4},
        evaluation={"source": "npz", "path": "1e5", "inputs": {"x": "no"}, "skip": 4},
        data_note="note",
        modes=[
            Mode(
                name="ort",
                options={"method": "onnxruntime-dynamic"},
                bounds=[Bound(tier="numerical", metric="sqnr", text=">= 9 dB", measured="12 dB")],
            )
        ],
        targets={"cpu": {"backend": "onnxruntime", "threads": 1}},
        repeats=1,
    )
    (tmp_path / "a.yaml").write_text(render(spec))
    (read,) = load_specs([str(tmp_path / "a.yaml")])
    assert read.id == "on"
    assert read.model.options["path"] == str(tmp_path / "a: b#c.onnx")
    assert read.data.evaluation.options["inputs"] == {"x": "no"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_knows_commands_and_options(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", shell]) == ExitCode.PASS
    script = capsys.readouterr().out
    for word in ("baseline", "upgrade", "shard", "plan-digest"):
        assert word in script, word


def test_bash_completes(tmp_path: Path) -> None:
    """The real shell, asked as a terminal asks it."""
    script = tmp_path / "gate.bash"
    script.write_text(
        subprocess.run(
            [sys.executable, "-m", "gate.cli.main", "completion", "bash"],
            capture_output=True, text=True, check=True,
        ).stdout
    )  # fmt: skip
    asked = (
        f"source {script}\nCOMP_WORDS=(gate run --sh); COMP_CWORD=2; COMP_LINE='gate run --sh'\n"
        'function=$(complete -p gate | sed "s/.*-F \\([^ ]*\\).*/\\1/"); $function gate --sh run\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=False)
    assert "--shard" in done.stdout.split(), done.stderr


def test_help_shows_examples_that_parse(capsys: pytest.CaptureFixture[str]) -> None:
    from gate.cli.main import COMMANDS, EPILOG, build_parser

    lines = [line for line in EPILOG.splitlines() if line.startswith("  gate ")]
    assert len(lines) >= 8
    for line in lines:
        words = shlex.split(re.split(r"\s{2,}", line.strip())[0])[1:]
        assert words[0] in COMMANDS
        build_parser(words[0]).parse_args(words)


def test_a_file_outside_the_repository_is_refused_with_the_ways_out(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spec that named it would be refused by ``gate lint``."""
    inner = project / "repository"
    (inner / ".git").mkdir(parents=True)
    out = inner / "specs" / "tiny.yaml"
    assert main(["init", "tiny.onnx", "--no-run", "--out", str(out)]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "tiny.onnx: lies outside the repository" in told
    assert "${MODELS}/tiny.onnx" in told
    assert not out.exists()
