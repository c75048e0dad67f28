"""Drills of a real spec through the command line: faults planted, judged, reported; bounds advised."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gate.spec.load import load_specs

ROOT = Path(__file__).resolve().parents[2]
CASE = "digits_cnn/ort-per-channel@ort-cpu"
PROBES = (
    "zeros",
    "constant",
    "denormals",
    "borders",
    "extremes",
    "saturating",
    "batch",
    "channels_last",
)
FAULTS = (
    "scale_x1_05",
    "channel_zeroed",
    "zero_point_off_by_4",
    "labels_shuffled",
    "calibration_bgr",
)


class Project:
    """A folder with the shipped specs and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            ROOT / "specs", folder / "specs", ignore=shutil.ignore_patterns("__pycache__")
        )
        (folder / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["specs"]\n')

    def gate(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "GATE_CACHE": str(self.folder / "cache"), "CI": "true"}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(ROOT)])
        return subprocess.run(
            [sys.executable, "-m", "gate.cli.main", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def drill(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        common = ("--select", CASE, "--samples", "200", "--jobs", "2", "--quiet")
        return self.gate("drill", "specs/digits_cnn.yaml", *common, *arguments)

    @property
    def artifacts(self) -> list[Path]:
        """Healthy candidates in the cache."""
        return sorted((self.folder / "cache" / "v1" / "artifact").iterdir())


def selected(*names: str) -> list[str]:
    return [word for name in names for word in ("--faults", name)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("drill"))


@pytest.fixture(scope="module")
def drilled(project: Project) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]:
    """A drill with a handful of faults, and its faults by name."""
    done = project.drill("--json", *selected(*FAULTS))
    assert done.stdout, done.stderr
    (case,) = json.loads(done.stdout)["cases"]
    return done, {fault["fault"]: fault for fault in case["faults"]}


def test_planted_faults_are_caught_and_their_layers_named(
    drilled: tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]],
) -> None:
    done, faults = drilled

    assert done.returncode == 0, done.stdout
    assert set(faults) == set(FAULTS)
    for name in FAULTS[:3]:
        assert faults[name]["finding"] == "caught", faults[name]
        assert faults[name]["planted"]["layer"]
        assert faults[name]["rightly_named"] is True, faults[name]
        assert faults[name]["in_expected_tier"]


def test_a_fault_of_the_data_is_caught_by_what_the_baseline_knows_of_it(
    drilled: tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]],
) -> None:
    found = drilled[1]["labels_shuffled"]

    assert found["finding"] == "caught"
    assert found["rightly_named"] is None
    assert "baseline" in {catch["rule"] for catch in found["caught_by"]}


def test_what_has_no_place_is_no_part_of_the_score(
    drilled: tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]],
) -> None:
    done, faults = drilled
    score = json.loads(done.stdout)["score"]

    assert faults["calibration_bgr"]["finding"] == "not here"
    assert (score["caught"], score["effective"], score["not_here"]) == (4, 4, 1)


def test_no_broken_candidate_gets_into_the_cache_and_no_baseline_is_written(
    project: Project,
    drilled: tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]],
) -> None:
    assert drilled[0].returncode == 0
    assert len(project.artifacts) == 1
    assert not (project.folder / "baselines").exists()


def test_the_same_seed_plants_the_same_faults_in_the_same_places(
    project: Project,
    drilled: tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]],
) -> None:
    done = project.drill("--json", *selected("channel_zeroed"))
    (again,) = json.loads(done.stdout)["cases"][0]["faults"]
    before = drilled[1]["channel_zeroed"]

    assert again["planted"] == before["planted"]
    assert again["metrics"] == before["metrics"]


def test_a_score_below_the_required_one_exits_1_with_advice(
    project: Project, tmp_path: Path
) -> None:
    spec = project.folder / "specs" / "loose.yaml"
    probes = ", ".join(f"numerical.probe.{name}" for name in PROBES)
    spec.write_text(
        "extends: digits_cnn.yaml\n"
        "tolerances:\n"
        '  numerical: {sqnr: ">= 5 dB", relative_mse: "< 50 %", worst_channel_nmse: "< 50 %",\n'
        '    top1_agreement: ">= 50 %", kl_divergence: "< 1 nat"}\n'
        '  layers: {sqnr: ">= 5 dB", worst_channel_nmse: "< 90 %", bias: "< 50 %"}\n'
        '  device: {top1: ">= 50 %", top1_drop: "< 20 pp"}\n'
        "  overrides:\n"
        "    - when: {quantization: ort-per-channel}\n"
        "      because: bounds that nobody thought about\n"
        f"      drop: [layers.isolated_sqnr, layers.isolated_worst_channel_nmse, {probes}]\n"
    )
    page = tmp_path / "drill.md"
    done = project.gate(
        "drill", "specs/loose.yaml", "--select", "loose/ort-per-channel@ort-cpu", "--samples", "200",
        "--quiet", "--markdown", str(page), *selected("zero_point_off_by_1"),
    )  # fmt: skip

    assert done.returncode == 1, done.stdout
    assert "0 of 1 fault caught (0.0 %, required 95 %)" in done.stdout
    assert "would catch it" in done.stdout
    assert "**zero_point_off_by_1** slipped through" in page.read_text()


def test_healthy_reruns_raise_no_alarm(project: Project) -> None:
    done = project.drill("--healthy", "4")

    assert done.returncode == 0, done.stdout
    assert "0 false alarms in 4 reruns" in done.stdout


def test_tuned_bounds_are_a_diff_that_catches_more(project: Project) -> None:
    spec = project.folder / "specs" / "wide.yaml"
    text = (ROOT / "specs" / "digits_cnn.yaml").read_text()
    spec.write_text(text.replace(">= baseline - 1 dB", ">= baseline - 18 dB"))
    words = (
        "tune-tolerances", "specs/wide.yaml", "--select", "wide/ort-per-channel@ort-cpu", "--repeats",
        "2", "--samples", "200", "--jobs", "2", "--quiet", *selected("zero_point_off_by_1"),
    )  # fmt: skip
    done = project.gate(*words)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("--- a/specs/wide.yaml\n+++ b/specs/wide.yaml\n")
    assert spec.read_text() == text.replace(">= baseline - 1 dB", ">= baseline - 18 dB")
    removed = [line for line in done.stdout.splitlines() if line.startswith("-    ")]
    added = [line for line in done.stdout.splitlines() if line.startswith("+    ")]
    assert any("baseline - 18 dB" in line for line in removed)
    assert not any("baseline - 18 dB" in line and "sqnr" in line for line in added)

    assert project.gate(*words, "--write").returncode == 0
    assert "# a list: all of them must hold" in spec.read_text()
    assert load_specs([str(spec)])
    assert "wide.yaml" in done.stderr or "->" in done.stderr


def test_a_fault_that_only_costs_gets_a_bound_that_load_hardly_moves(project: Project) -> None:
    done = project.gate(
        "tune-tolerances", "specs/digits_lstm.yaml", "--select", "digits_lstm/ort-dynamic@ort-cpu",
        "--repeats", "1", "--samples", "50", "--quiet", *selected("slow_load"),
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "device.load_cpu: add '<= baseline + " in done.stderr
    (added,) = [line for line in done.stdout.splitlines() if line.startswith("+    ")]
    assert added.startswith('+    load_cpu: "<= baseline + ')


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--faults", "no_such_fault"), "names no fault"),
        (("--require", "200"), "expected a percentage"),
        (("--healthy", "0"), "expected a whole number"),
    ],
)
def test_wrong_use_is_told(project: Project, words: tuple[str, ...], message: str) -> None:
    done = project.drill(*words)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
