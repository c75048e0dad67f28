"""Launches for real: the baseline's artifact is found, timed beside the candidate, and decides."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gate.baseline.make import make_baseline
from gate.baseline.store import BaselineStore
from gate.core.baseline import Provenance
from gate.core.case import Plan
from gate.core.observation import TimingObserved
from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.verdict import Check
from gate.judge.results import verdict_of
from gate.run.artifacts import ArtifactStore, keep_candidates_of
from gate.run.cache import Cache
from gate.run.engine import run_plan
from gate.run.settings import RunSettings
from gate.run.store import read_run
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.bench.latency_models import CHANNELS, SIDE, artifact, write_chain, write_reference

SPEC = {
    "version": 1,
    "model": {
        "id": "chain",
        "task": "other",
        "reference": {"source": "onnx", "path": "reference.onnx"},
        "inputs": {"x": {"shape": ["N", CHANNELS, SIDE, SIDE], "dtype": "float32"}},
    },
    "data": {"evaluation": {"source": "python", "entry": "samples:some"}},
    "quantizations": {"int8": {"method": "candidate", "path": "candidate.onnx"}},
    "targets": {"cpu": {"backend": "onnxruntime", "threads": 1}},
    "run": {"timing": {"warmup": 3, "rounds": 20, "processes": 4}},
    "tolerances": {"device": {"latency_p50": "<= baseline + 40 %"}},
}
SAMPLES = f"""
import numpy as np


def some():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, {CHANNELS}, {SIDE}, {SIDE})).astype(np.float32), None
"""


class Project:
    """A case whose candidate is a file that can be replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["samples"]\n')
        (root / "samples.py").write_text(SAMPLES)
        (root / "chain.json").write_text(json.dumps(SPEC))
        write_reference(root / "reference.onnx")
        self.candidate = root / "candidate.onnx"
        self.baselines = BaselineStore(root / "baselines")
        self.runs = 0

    def run(self) -> CaseResult:
        self.runs += 1
        settings = RunSettings(
            run_dir=self.root / f"run-{self.runs}",
            cache_dir=self.root / ".gate" / "cache",
            baselines_dir=self.baselines.root,
            artifacts_dir=self.root / ".gate" / "artifacts",
        )
        wanted: Plan = plan(load_specs([str(self.root / "chain.json")]))
        (result,) = run_plan(wanted, settings=settings)
        assert result.failure is None, result.failure
        return result

    def accept(self, result: CaseResult) -> list[str]:
        assert result.observation is not None
        who = Provenance(reason="", commit="", author="", date="", gate_version="")
        self.baselines.write_all([make_baseline(result.case, result.observation, who)])
        return keep_candidates_of([result], self.baselines, self.root)

    def check(self, result: CaseResult) -> Check:
        assert result.observation is not None
        case = result.case
        found = self.baselines.lookup(case.id, result.observation.environment, case.comparability)
        checks = [c for c in verdict_of(result, found).checks if c.rule == "latency_p50"]
        (check,) = checks
        return check


def times(result: CaseResult) -> TimingObserved:
    assert result.observation is not None
    assert result.observation.timing is not None
    return result.observation.timing


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("timing"))


@pytest.fixture(autouse=True)
def _inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)


@pytest.fixture(scope="module")
def accepted(project: Project) -> CaseResult:
    """The first run, without a baseline, whose candidate is accepted and kept."""
    patch = pytest.MonkeyPatch()
    patch.chdir(project.root)
    write_chain(project.candidate, 4, "accepted")
    first = project.run()
    assert project.accept(first) == []
    patch.undo()
    return first


def test_what_may_become_a_baseline_is_launched_often(accepted: CaseResult) -> None:
    timing = times(accepted)
    assert sorted(set(timing.launch)) == [0, 1, 2, 3]
    assert timing.base_wall_ns == ()
    assert timing.base_note == "there is no baseline to compare with"
    assert len(timing.candidate_wall_ns) == 4 * 20 * timing.runs_per_round


def test_a_slower_candidate_fails_beside_the_baselines_own_file(
    project: Project, accepted: CaseResult
) -> None:
    write_chain(project.candidate, 8, "twice the work")
    result = project.run()
    timing = times(result)
    assert accepted.observation is not None
    assert timing.base_sha256 == accepted.observation.artifacts["candidate"]
    assert len(timing.base_cpu_ns) == len(timing.candidate_cpu_ns) == len(timing.launch)
    assert timing.confirming_from is not None
    assert timing.confirming_from < timing.launch[-1] + 1
    check = project.check(result)
    assert check.status is Status.FAIL
    assert "confirmed in fresh processes" in check.message
    assert check.measurement is not None
    assert check.measurement.value == pytest.approx(95, abs=25)
    # From the files alone the verdict is the same.
    (stored,) = read_run(project.root / f"run-{project.runs}")
    assert project.check(stored) == check


def test_what_no_launch_could_change_is_not_confirmed(
    project: Project, accepted: CaseResult, tmp_path: Path
) -> None:
    # A baseline that holds no time and whose file is not kept: a FAIL that there is no bound for.
    stored, project.baselines = project.baselines, BaselineStore(tmp_path / "baselines")
    kept = project.root / ".gate" / "artifacts"
    shutil.move(kept, tmp_path / "elsewhere")
    try:
        assert accepted.observation is not None
        who = Provenance(reason="", commit="", author="", date="", gate_version="")
        baseline = make_baseline(accepted.case, accepted.observation, who)
        values = tuple(v for v in baseline.values if v.tier is not Tier.DEVICE)
        project.baselines.write_all([replace(baseline, values=values)])
        write_chain(project.candidate, 8, "twice the work")
        result = project.run()
        check = project.check(result)
    finally:
        shutil.move(tmp_path / "elsewhere", kept)
        project.baselines = stored
    assert check.status is Status.FAIL
    assert "holds no value to compare with" in check.message
    assert check.measurement is not None
    assert check.measurement.value is not None
    timing = times(result)
    assert timing.confirming_from is None
    assert sorted(set(timing.launch)) == [0, 1, 2, 3]


def test_another_file_that_is_as_fast_passes(project: Project, accepted: CaseResult) -> None:
    write_chain(project.candidate, 4, "made anew")
    result = project.run()
    assert times(result).base_wall_ns
    assert times(result).confirming_from is None
    assert project.check(result).status is Status.PASS


def test_the_same_file_is_not_timed_against_itself(project: Project, accepted: CaseResult) -> None:
    write_chain(project.candidate, 4, "accepted")
    result = project.run()
    assert times(result).base_wall_ns == ()
    check = project.check(result)
    assert check.status is Status.PASS
    assert "the same file" in check.message


def test_the_same_file_under_an_edited_spec_is_launched_as_often_as_a_ratio_takes(
    project: Project, accepted: CaseResult
) -> None:
    write_chain(project.candidate, 4, "accepted")
    spec = project.root / "chain.json"
    looser = {**SPEC, "tolerances": {"device": {"latency_p50": "<= baseline + 50 %"}}}
    spec.write_text(json.dumps(looser))
    try:
        result = project.run()
    finally:
        spec.write_text(json.dumps(SPEC))
    assert sorted(set(times(result).launch)) == [0, 1, 2, 3]
    check = project.check(result)
    assert "stored ratio" in check.message
    assert "the spec changed" in check.message


def test_without_the_kept_file_the_stored_ratio_is_used_and_said(
    project: Project, accepted: CaseResult, tmp_path: Path
) -> None:
    kept = project.root / ".gate" / "artifacts"
    shutil.move(kept, tmp_path / "elsewhere")
    try:
        write_chain(project.candidate, 8, "twice the work")
        result = project.run()
    finally:
        shutil.move(tmp_path / "elsewhere", kept)
    check = project.check(result)
    assert check.status is Status.FAIL
    assert "stored ratio" in check.message
    assert "it is not kept here" in check.message


def test_a_baseline_s_file_that_no_longer_runs_leaves_the_stored_ratio(
    project: Project, accepted: CaseResult, tmp_path: Path
) -> None:
    # As a file that an older version of the runtime took and this one does not.
    import onnx

    model = onnx.load(write_chain(tmp_path / "old.onnx", 4, "old"))
    model.graph.node[-1].op_type = "NoLongerThere"
    onnx.save(model, tmp_path / "old.onnx")
    old = artifact(tmp_path / "old.onnx")
    assert ArtifactStore(project.root / ".gate" / "artifacts").keep(old)
    stored, project.baselines = project.baselines, BaselineStore(tmp_path / "baselines")
    try:
        assert accepted.observation is not None
        who = Provenance(reason="", commit="", author="", date="", gate_version="")
        baseline = make_baseline(accepted.case, accepted.observation, who)
        named = {**baseline.artifacts, "candidate": old.sha256}
        project.baselines.write_all([replace(baseline, artifacts=named)])
        write_chain(project.candidate, 4, "made anew")
        result = project.run()
        check = project.check(result)
    finally:
        project.baselines = stored
    timing = times(result)
    assert timing.base_wall_ns == ()
    assert timing.base_sha256 == ""
    assert f"{old.sha256[:12]} no longer runs" in timing.base_note
    assert "NoLongerThere" in timing.base_note
    assert str(project.root) not in timing.base_note
    assert "stored ratio" in check.message
    assert "no longer runs" in check.message


def test_a_kept_artifact_is_checked_before_it_is_used(tmp_path: Path) -> None:
    given = artifact(write_chain(tmp_path / "m.onnx", 1, "one"))
    store = ArtifactStore(tmp_path / "kept")
    assert store.find(given.sha256) == "it is not kept here"
    assert store.keep(given)
    found = store.find(given.sha256)
    assert not isinstance(found, str)
    assert found == replace(given, path=store.root / given.sha256 / "m.onnx")
    write_chain(found.path, 1, "another")
    assert store.find(given.sha256) == "its file is damaged"
    assert store.keep(given)
    assert not isinstance(store.find(given.sha256), str)
    (store.root / given.sha256 / "artifact.json").write_text("{}")
    assert "record is damaged" in str(store.find(given.sha256))


def test_a_file_that_is_no_longer_what_was_accepted_is_not_kept(tmp_path: Path) -> None:
    given = artifact(write_chain(tmp_path / "m.onnx", 1, "one"))
    write_chain(given.path, 1, "another")
    store = ArtifactStore(tmp_path / "kept")
    assert not store.keep(given)
    assert [p.name for p in store.root.iterdir() if p.name != ".lock"] == []


def test_the_least_recently_used_artifacts_make_room(tmp_path: Path) -> None:
    files = [artifact(write_chain(tmp_path / f"{i}.onnx", 1, str(i))) for i in range(3)]
    size = files[0].size_bytes
    store = ArtifactStore(tmp_path / "kept", limit_bytes=3 * size)
    for given in files:
        assert store.keep(given)
    present = [not isinstance(store.find(given.sha256), str) for given in files]
    assert present[-1]
    assert present.count(True) < 3


def test_the_cache_finds_an_artifact_by_its_content(tmp_path: Path) -> None:
    from gate.core.convert import to_plain

    cache = Cache(tmp_path / "cache")
    with cache.slot("artifact", {"made": "from this"}) as slot:
        made = artifact(write_chain(slot.staging() / "m.onnx", 1, "one"))
        slot.commit(to_plain(replace(made, path=Path("m.onnx"))))
    found = Cache(tmp_path / "cache").artifact(made.sha256)
    assert found is not None
    assert found.path.is_file()
    assert found.sha256 == made.sha256
    assert Cache(tmp_path / "cache").artifact("0" * 64) is None
    write_chain(found.path, 1, "changed")
    assert Cache(tmp_path / "cache").artifact(made.sha256) is None
