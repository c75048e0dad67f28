from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gate.core.case import Plan
from gate.core.observation import Observation
from gate.core.result import CaseResult
from gate.run.engine import run_plan, worker_environment
from gate.run.events import (
    CacheUsed,
    CaseFinished,
    CaseStarted,
    Event,
    StageEntered,
    StageProgress,
    Waiting,
)
from gate.run.settings import InfrastructureError, RunSettings
from gate.run.store import read_run
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from tests.unit.run.project import spec_of, write_spec

Engine = Callable[..., tuple[list[CaseResult], list[Event]]]
Planned = Callable[..., Plan]
FULL = {
    "numerical": {"finite": True},
    "layers": {"shapes": "equal"},
    "device": {"size": "<= 1 MB"},
}


def cache_uses(events: list[Event]) -> Counter[tuple[str, bool]]:
    return Counter((e.kind, e.hit) for e in events if isinstance(e, CacheUsed))


def test_stages_come_in_order_and_end_in_an_observation(planned: Planned, engine: Engine) -> None:
    (result,), events = engine(planned(tolerances=FULL), cache_dir=None)
    stages = [e.stage for e in events if isinstance(e, StageEntered)]
    assert stages == ["model", "data", "quantize", "open", "numerical", "layers", "device"]
    assert isinstance(events[0], CaseStarted)
    assert isinstance(events[-1], CaseFinished)
    done = [e.done for e in events if isinstance(e, StageProgress) and e.stage == "numerical"]
    assert done[-1] == 20
    seen = result.observation
    assert seen is not None
    assert seen.samples_planned == seen.samples_evaluated == 20
    assert seen.task is not None
    assert len(seen.task.reference_top1) == 20
    assert seen.timing is not None
    # Nothing demands a time: one launch of four rounds, each model forwards and backwards.
    assert len(seen.timing.candidate_wall_ns) == len(seen.timing.reference_cpu_ns) == 2 * 4
    assert seen.timing.launch == (0,) * 8
    assert seen.resources is not None
    # Python, NumPy and the runtime are in it; the worker's own peak is no part of it.
    assert 20 * 2**20 < seen.resources.peak_memory_bytes < 500 * 2**20
    assert seen.layers is not None
    assert seen.layers.samples == 16
    assert set(seen.stage_seconds) == {"start", *stages}


def test_tiers_that_nothing_is_demanded_of_are_not_run(planned: Planned, engine: Engine) -> None:
    (result,), events = engine(planned())
    assert [e.stage for e in events if isinstance(e, StageEntered)][-1] == "numerical"
    assert result.observation is not None
    assert result.observation.layers is None
    assert result.observation.timing is None


@pytest.fixture(scope="module")
def first_run(project: Path) -> tuple[Plan, Observation, Path]:
    """A case, what its first run saw, and the cache that it filled."""
    wanted = plan(load_specs([write_spec(project, "cached", spec_of("good"))]))
    events: list[Event] = []
    settings = RunSettings(run_dir=project / "first", cache_dir=project / "filled")
    (result,) = run_plan(wanted, settings=settings, on_event=events.append)
    assert cache_uses(events) == {("artifact", False): 1, ("reference-outputs", False): 1}
    assert result.observation is not None
    return wanted, result.observation, project / "filled"


@pytest.fixture
def filled(first_run: tuple[Plan, Observation, Path], tmp_path: Path) -> Path:
    """The test's own copy of the filled cache."""
    return Path(shutil.copytree(first_run[2], tmp_path / "cache"))


def test_a_second_run_neither_quantizes_nor_runs_the_reference(
    first_run: tuple[Plan, Observation, Path], engine: Engine, filled: Path
) -> None:
    wanted, first, _ = first_run
    (result,), events = engine(wanted, cache_dir=filled)
    assert cache_uses(events) == {("artifact", True): 1, ("reference-outputs", True): 1}
    second = result.observation
    assert second is not None
    same = ("outputs", "pin", "task", "artifacts", "data_digest", "environment")
    assert [getattr(second, name) for name in same] == [getattr(first, name) for name in same]


def test_damaged_cache_entries_are_made_again_and_said(
    first_run: tuple[Plan, Observation, Path], engine: Engine, filled: Path
) -> None:
    wanted, first, _ = first_run
    files = [p for p in (filled / "v1").rglob("*") if p.suffix in (".onnx", ".npy")]
    assert len(files) == 2
    for damaged in files:
        data = bytearray(damaged.read_bytes())
        data[-1] ^= 1
        damaged.write_bytes(data)
    (result,), events = engine(wanted, cache_dir=filled)
    assert cache_uses(events) == {("artifact", False): 1, ("reference-outputs", False): 1}
    second = result.observation
    assert second is not None
    assert second.outputs == first.outputs
    for damaged in files:
        assert any("damaged cache entry" in n and damaged.name in n for n in second.notes)


def test_changed_code_behind_an_entry_makes_the_reference_run_again(
    first_run: tuple[Plan, Observation, Path], engine: Engine, filled: Path, project: Path
) -> None:
    module = project / "faults.py"
    before = module.read_text()
    try:
        module.write_text(before + "\n# changed\n")
        _, events = engine(first_run[0], cache_dir=filled)
    finally:
        module.write_text(before)
    # The model is a file and has no code, so its artifact stays; the data come from the entry.
    assert cache_uses(events) == {("artifact", True): 1, ("reference-outputs", False): 1}


def test_cached_artifacts_are_shared_by_cases_of_one_run(
    project: Path, engine: Engine, tmp_path: Path
) -> None:
    names = ["twin-a", "twin-b"]
    wanted = plan(load_specs([write_spec(project, name, spec_of("good")) for name in names]))
    results, events = engine(wanted, jobs=2, cache_dir=tmp_path / "cache")
    assert all(result.observation is not None for result in results)
    assert cache_uses(events) == {
        ("artifact", False): 1,
        ("artifact", True): 1,
        ("reference-outputs", False): 1,
        ("reference-outputs", True): 1,
    }


def test_without_a_cache_nothing_is_kept(planned: Planned, engine: Engine, tmp_path: Path) -> None:
    _, events = engine(planned(), cache_dir=None)
    assert cache_uses(events) == {("artifact", False): 1, ("reference-outputs", False): 1}
    left = [p for p in (tmp_path / "run").rglob("*") if p.suffix in (".onnx", ".npy")]
    assert left == []


def test_a_case_whose_needs_are_absent_is_skipped_without_a_worker(
    planned: Planned, engine: Engine
) -> None:
    needs = {"packages": ["no_such_package"], "env": ["NO_SUCH_VARIABLE"], "install": "get it"}
    (result,), events = engine(planned(requires=needs))
    assert result.skipped is not None
    assert "no_such_package" in result.skipped
    assert "NO_SUCH_VARIABLE" in result.skipped
    assert "get it" in result.skipped
    assert not any(isinstance(e, CaseStarted) for e in events)


def test_a_refused_model_is_a_refusal_in_stage_model(planned: Planned, engine: Engine) -> None:
    model = spec_of("good")["model"]
    model["reference"]["sha256"] = "0" * 64
    (result,), _ = engine(planned(model=model))
    assert result.failure is not None
    assert (result.failure.kind, result.failure.stage) == ("refused", "model")


def test_a_cache_that_cannot_be_written_is_said_with_the_ways_out(
    planned: Planned, engine: Engine, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    (result,), _ = engine(planned(), cache_dir=tmp_path / "file")
    assert result.failure is not None
    assert (result.failure.kind, result.failure.stage) == ("refused", "quantize")
    assert f"{tmp_path / 'file'}: the cache cannot be written" in result.failure.message
    assert "GATE_CACHE" in result.failure.message
    assert result.failure.last_output == ""


def test_threads_and_hashing_of_a_worker_are_fixed() -> None:
    environment = worker_environment(3)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["PYTHONHASHSEED"] == "0"


def test_a_worker_cannot_give_orders_to_the_job_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_TOKEN", "GITHUB_ACTIONS", "GATE_DATA"):
        monkeypatch.setenv(name, "x")
    environment = worker_environment(1)
    assert not {"GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_TOKEN"} & set(environment)
    # What says where it runs, and what specs name, stays.
    assert environment["GITHUB_ACTIONS"] == environment["GATE_DATA"] == "x"


def test_an_unwritable_run_folder_is_no_pass(planned: Planned, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    settings = RunSettings(run_dir=blocked / "run", cache_dir=None)
    with pytest.raises(InfrastructureError, match="cannot be written"):
        list(run_plan(planned(), settings=settings))


def test_closing_the_iterator_ends_the_workers(project: Path, tmp_path: Path) -> None:
    specs = [spec_of("good"), spec_of("hang")]
    paths = [write_spec(project, f"close-{i}", spec) for i, spec in enumerate(specs)]
    settings = RunSettings(run_dir=tmp_path / "run", cache_dir=None, jobs=2)
    running = run_plan(plan(load_specs(paths)), settings=settings)
    assert next(running).observation is not None
    running.close()  # type: ignore[attr-defined]
    assert workers_of(tmp_path / "run") == []


def workers_of(run_dir: Path) -> list[int]:
    """Living processes that were started for a run."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        living = process.info["status"] != psutil.STATUS_ZOMBIE
        if living and "gate.run.worker" in line and str(run_dir) in line:
            found.append(process.pid)
    return found


RUNNER = """
import sys
from pathlib import Path
from gate.run.engine import run_plan
from gate.run.settings import RunSettings
from gate.spec.load import load_specs
from gate.spec.matrix import plan

settings = RunSettings(run_dir=Path(sys.argv[1]), cache_dir=None, jobs=1, grace_seconds=30)
for result in run_plan(plan(load_specs(sys.argv[2:])), settings=settings):
    print(result.case.spec_id, "ok" if result.observation else result.failure.kind, flush=True)
"""


@pytest.fixture
def interruptible(project: Path, tmp_path: Path) -> subprocess.Popen[str]:
    """A run of a good, a hanging and another good case that is at the second."""
    entries = {"a-good": "good", "b-hang": "stubborn", "c-good": "good"}
    paths = [write_spec(project, name, spec_of(entry)) for name, entry in entries.items()]
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER, str(tmp_path / "run"), *paths],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "a-good ok\n"
    log = tmp_path / "run" / "logs" / "b-hang%2Fdyn@ort.log"
    deadline = time.monotonic() + 30
    while not (log.exists() and "stubborn" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_an_interrupt_keeps_what_is_known_and_a_second_one_does_not_wait(
    interruptible: subprocess.Popen[str], tmp_path: Path
) -> None:
    interruptible.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert interruptible.poll() is None  # it waits for the stubborn worker
    interruptible.send_signal(signal.SIGINT)
    out, _ = interruptible.communicate(timeout=10)
    assert out.splitlines() == ["b-hang interrupted", "c-good interrupted"]
    assert interruptible.returncode == 0
    kinds = [r.failure.kind if r.failure else "observed" for r in read_run(tmp_path / "run")]
    assert kinds == ["observed", "interrupted", "interrupted"]
    assert workers_of(tmp_path / "run") == []


def test_workers_die_with_an_engine_that_is_killed(
    interruptible: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert len(workers_of(tmp_path / "run")) == 1
    interruptible.kill()
    interruptible.wait()
    deadline = time.monotonic() + 10
    while workers_of(tmp_path / "run"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # What the dead run left is not taken for complete.
    kinds = [r.failure.kind if r.failure else "observed" for r in read_run(tmp_path / "run")]
    assert kinds == ["observed", "no-result", "no-result"]


def test_timing_has_the_machine_to_itself(project: Path, engine: Engine, tmp_path: Path) -> None:
    """Beside a case that is being timed no other worker is in a stage of its own."""
    run = {"timing": {"warmup": 1, "rounds": 300, "batch": 1}}
    paths = [
        write_spec(project, f"timed-{i}", spec_of("good", run=run, tolerances=FULL))
        for i in range(3)
    ]
    results, events = engine(plan(load_specs(paths)), jobs=3)
    assert all(result.observation is not None for result in results)
    timed: set[str] = set()
    waiting: set[str] = set()
    current: dict[str, str] = {}
    for event in events:
        match event:
            case StageEntered():
                current[event.case_id] = event.stage
            case StageProgress(stage="device"):
                timed.add(event.case_id)
                others = {c: s for c, s in current.items() if c != event.case_id}
                assert all(
                    stage == "device" or case in waiting or stage == "start"
                    for case, stage in others.items()
                ), others
            case CaseFinished():
                current.pop(event.result.case.id)
            case Waiting():
                (waiting.add if event.reason else waiting.discard)(event.case_id)
    assert len(timed) == 3
