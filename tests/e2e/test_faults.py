"""Planted faults, each caught in the right tier with the right layer named; ten healthy repeats.

Everything is real: the candidate is made by the gate's quantizer, broken on disk, and run by the
installed command line in its own process against a baseline recorded from the healthy candidate.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.faults import FAULTS, break_file
from tests.e2e.project import Finished, Project, make_candidate

GIVEN, SLEPT = "digits/given@ort-cpu", "digits/slept@torch-x86"


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The healthy candidate file."""
    return make_candidate(tmp_path_factory.mktemp("healthy")).path


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory, healthy: Path) -> Project:
    """A project whose two cases passed and have baselines."""
    project = Project(tmp_path_factory.mktemp("project"))
    shutil.copy(healthy, project.candidate)
    done = project.gate("baseline", "update", project.spec.name, "--reason", "first baseline")
    assert done.code == 0, done.output
    return project


@pytest.fixture
def project(accepted: Project, healthy: Path) -> Project:
    """The accepted project, its candidate and spec put back to the healthy ones."""
    shutil.copy(healthy, accepted.candidate)
    accepted.write_spec(sleep_seconds=0.0)
    return accepted


def _verdict(done: Finished) -> dict:
    assert done.report is not None, done.output
    (case,) = done.report["cases"]
    return case


def _failed(case: dict) -> set[tuple[str, str]]:
    return {(check["tier"], check["rule"]) for check in case["checks"] if check["status"] == "FAIL"}


def _assert_caught(done: Finished, expected: tuple[str, str], named: str | None) -> None:
    case = _verdict(done)
    told = "\n".join(map(str, case["explanation"]))
    assert done.code == 1, told
    assert expected in _failed(case), told
    assert case["first_bad_layer"] == named, told


# fault -> layer it is planted in, (tier, rule) that must fail, layer that must be named first.
PLANTED = {
    "scale_x1_05": ("residual.first.conv", ("layers", "sqnr"), "residual.first.conv"),
    "zero_point_off_by_1": ("down.conv", ("layers", "sqnr"), "down.conv"),
    "zero_point_off_by_4": (
        "separable.pointwise.conv",
        ("layers", "sqnr"),
        "separable.pointwise.conv",
    ),
    "wrong_axis": ("residual.first.conv", ("layers", "sqnr"), "residual.first.conv"),
    "wrong_axis_in_the_file": ("residual.first.conv", ("layers", "qparams"), "residual.first.conv"),
    "channel_zeroed": ("separable.pointwise.conv", ("layers", "sqnr"), "separable.pointwise.conv"),
    "int4": ("down.conv", ("layers", "sqnr"), "down.conv"),
    "weight_scale_nan": ("down.conv", ("layers", "qparams"), "down.conv"),
    # Behind the last layer, whose own output is right: no layer is to blame.
    "output_nan": (None, ("numerical", "outputs"), None),
    # The layer that cuts is one that the baseline does not have.
    "output_shape": (None, ("layers", "layer_contract"), "cut"),
    "float_weights_kept": (None, ("device", "size"), None),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_fault_in_the_file_fails_its_tier_and_names_its_layer(fault: str, project: Project) -> None:
    layer, expected, named = PLANTED[fault]
    break_file(project.candidate, fault=fault, layer=layer)
    _assert_caught(project.run(GIVEN), expected, named)


def _constant_calibration(folder: Path) -> Path:
    return make_candidate(folder, constant_calibration=True).path


def _one_layer_float(folder: Path) -> Path:
    return make_candidate(folder, keep_float=("down.conv",)).path


@pytest.mark.parametrize(
    ("make", "expected", "named"),
    [
        (_constant_calibration, ("numerical", "sqnr"), "stem.conv"),
        (_one_layer_float, ("layers", "quantized_ops"), "down.conv"),
    ],
    ids=["constant_calibration", "layer_left_float"],
)
def test_fault_of_the_quantizer_fails_its_tier_and_names_its_layer(
    make: Callable[[Path], Path],
    expected: tuple[str, str],
    named: str,
    project: Project,
    tmp_path: Path,
) -> None:
    shutil.copy(make(tmp_path), project.candidate)
    _assert_caught(project.run(GIVEN), expected, named)


def test_sleep_in_the_forward_pass_fails_the_device_tier(project: Project) -> None:
    project.write_spec(sleep_seconds=0.05)
    done = project.run(SLEPT)
    case = _verdict(done)
    assert done.code == 1, done.output
    assert ("device", "speedup") in _failed(case)
    assert {tier for tier, _ in _failed(case)} == {"device"}


def test_every_injector_is_planted() -> None:
    assert set(PLANTED) == set(FAULTS)


@pytest.mark.slow
def test_ten_healthy_repeats_pass(project: Project) -> None:
    given = [project.gate("run", project.spec.name, "--select", GIVEN).code for _ in range(10)]
    assert given == [0] * 10
    # Each process of a torch case takes seconds to import it.
    made = [project.gate("run", project.spec.name, "--select", SLEPT).code for _ in range(3)]
    assert made == [0] * 3
