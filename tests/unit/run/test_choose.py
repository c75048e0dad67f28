"""Ladders and searches over real candidates of ONNX Runtime, in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.cli.run import only_tiers
from gate.core.case import Case, Plan
from gate.core.choice import Choice
from gate.core.status import Tier
from gate.quantize.base import QuantizeError
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.choose import note, settled
from gate.run.opened import Material, material, prepared
from tests.unit.onnx_models import cnn_model, images
from tests.unit.run.cnn_case import cnn_case

GOOD = {"method": "onnxruntime-static"}
ROUGH = {"method": "onnxruntime-static", "calibrate": "percentile", "percentile": 60}
REFUSED = {"method": "onnxruntime-dynamic", "op_types": ["LSTM"]}
SQNR = {"numerical": {"sqnr": ">= 15 dB"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float model and samples."""
    made = tmp_path_factory.mktemp("choose")
    cnn_model(made)
    np.savez(made / "a.npz", image=images(64, seed=1)["image"])
    np.savez(made / "b.npz", image=images(64, seed=2)["image"])
    return made


class Bench:
    """Settles cases of one spec with one cache."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self.cache = Cache(root / "cache")
        self.work = root / "work"
        self._material: Material | None = None
        self.timed = 0

    def case(self, tolerances: Any = None, **quantization: Any) -> Case:
        return cnn_case(
            self.folder / "cnn.yaml",
            quantization,
            run={"layer_samples": 4, "timing": {"warmup": 1, "rounds": 3}},
            tolerances=tolerances or SQNR,
        )

    def settle(
        self, case: Case, announcer: Announcer | None = None, given: Path | None = None
    ) -> tuple[Case, Choice]:
        if self._material is None:
            self._material = material(case)
        made, choice = settled(
            case,
            self._material.native,
            evaluation=self._material.evaluation,
            calibration=self._material.calibration,
            cache=self.cache,
            announcer=announcer or Announcer(None),
            work=self.work,
            given=given,
            alone=self._alone,
        )
        if given is not None:
            return made, None  # type: ignore[return-value]
        assert choice is not None
        return made, choice

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.timed += 1
        yield

    def ladder(self, *rungs: Any, tolerances: Any = None, **options: Any) -> tuple[Case, Choice]:
        made = self.case(tolerances, method="ladder", rungs=list(rungs), **options)
        return self.settle(made)

    def search(self, of: Any = GOOD, **options: Any) -> tuple[Case, Choice]:
        return self.settle(self.case(method="search", of=of, **options))


@pytest.fixture
def bench(folder: Path, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(folder, tmp_path)
    assert plugins.load("quantizers", "onnxruntime-static").workbench is None


def test_other_methods_are_left_as_they_are(bench: Bench) -> None:
    case = bench.case(**GOOD)
    found = material(case)
    same, choice = settled(
        case,
        found.native,
        evaluation=found.evaluation,
        calibration=found.calibration,
        cache=bench.cache,
        announcer=Announcer(None),
        work=bench.work,
    )
    assert same is case
    assert choice is None


# --- ladders ---------------------------------------------------------------------------------------


def test_the_first_rung_that_holds_is_taken(bench: Bench) -> None:
    case, choice = bench.ladder(REFUSED, ROUGH, GOOD, {**GOOD, "weights": "int8/per-tensor"})
    assert [one.holds for one in choice.tried] == [False, False, True]
    assert "refused" in choice.tried[0].why
    assert "LSTM" in choice.tried[0].why
    assert choice.tried[0].size_bytes is None
    assert choice.tried[1].why.startswith("sqnr")
    assert choice.tried[1].figures["sqnr"] < 15.0 <= choice.tried[2].figures["sqnr"]
    assert (case.quantization.name, case.quantization.method) == ("auto", "onnxruntime-static")
    assert case.quantization.options == {}
    assert choice.met
    assert "took onnxruntime-static, rung 3" in note(choice)


def test_what_is_settled_is_made_like_any_other_case(bench: Bench) -> None:
    case, choice = bench.ladder(ROUGH, GOOD)
    made = prepared(case, material(case), cache=bench.cache, work=bench.work)
    assert made.artifact.producer == "onnxruntime-static"
    assert made.artifact.size_bytes == choice.taken.size_bytes


def test_a_ladder_looks_at_every_tier(bench: Bench) -> None:
    """Layers and times are judged; memory, which takes a process of its own, is not."""
    tolerances = {
        "numerical": {"sqnr": [">= 1 dB", ">= baseline - 1 dB"]},
        "layers": {"float_layers": "== 0"},
        "device": {"speedup": ">= 0.0001 x", "peak_memory": "<= 1 B", "load_time": "<= 1 ns"},
    }
    keeping = {**GOOD, "keep_float": ["conv1"]}
    _, choice = bench.ladder(keeping, GOOD, tolerances=tolerances)
    assert choice.tried[0].why.startswith("float_layers")
    assert choice.tried[1].holds
    assert choice.tried[1].figures["speedup"] > 0


def test_rungs_are_timed_alone_and_only_where_that_is_asked(bench: Bench) -> None:
    bench.ladder(ROUGH, GOOD)
    assert bench.timed == 0
    choice = bench.ladder(ROUGH, GOOD, tolerances={"device": {"speedup": ">= 1e6 x"}})[1]
    assert bench.timed == len(choice.tried) == 2


def test_a_candidate_that_is_none_does_not_hold(bench: Bench, folder: Path) -> None:
    """Findings count: the float file passes every bound on errors."""
    given = {"method": "candidate", "path": "cnn.onnx"}
    _, choice = bench.ladder(given, GOOD)
    assert "identical" in choice.tried[0].why
    assert choice.method == "onnxruntime-static"


def test_where_no_rung_holds_the_last_one_is_taken_and_said(bench: Bench) -> None:
    impossible = {"numerical": {"sqnr": ">= 200 dB"}}
    case, choice = bench.ladder(GOOD, ROUGH, REFUSED, tolerances=impossible)
    assert not choice.met
    assert dict(case.quantization.options) == {"calibrate": "percentile", "percentile": 60}
    assert "no rung holds" in note(choice)


def test_where_no_rung_can_be_made_each_reason_is_given(bench: Bench) -> None:
    with pytest.raises(QuantizeError, match=r"no rung .* LSTM.*GRU"):
        bench.ladder(REFUSED, {**REFUSED, "op_types": ["GRU"]})


def test_a_choice_is_kept_until_something_changes(bench: Bench) -> None:
    first = bench.ladder(ROUGH, GOOD)[1]
    assert bench.ladder(ROUGH, GOOD)[1] == first, "seconds included: nothing was measured again"
    other = bench.ladder(ROUGH, GOOD, tolerances={"numerical": {"sqnr": ">= 1 dB"}})[1]
    assert other.chosen == 0
    calibrated = bench.ladder(ROUGH, GOOD, on="calibration")[1]
    assert calibrated.on == "calibration"
    assert calibrated.tried[0].figures != first.tried[0].figures


def test_a_run_of_one_tier_takes_the_same_recipe(bench: Bench) -> None:
    """What the other tiers demand still chooses, though it is not judged."""
    tolerances = {**SQNR, "layers": {"float_layers": "== 0"}}
    case = bench.case(tolerances, method="ladder", rungs=[{**GOOD, "keep_float": ["conv1"]}, GOOD])
    whole = bench.settle(case)[1]
    (part,) = only_tiers(Plan(cases=(case,)), frozenset({Tier.NUMERICAL})).cases
    assert len(part.tolerances) < len(case.tolerances)
    assert bench.settle(part)[1] == whole
    assert whole.chosen == 1


def test_a_kept_candidate_tells_its_recipe(bench: Bench, tmp_path: Path) -> None:
    from gate.run.candidates import keep_candidate

    case, _ = bench.ladder(GOOD)
    made = prepared(case, material(case), cache=bench.cache, work=bench.work)
    keep_candidate(tmp_path / "kept", case.id, made.artifact)
    asked = bench.case(method="ladder", rungs=[ROUGH])
    told, _ = bench.settle(asked, given=tmp_path / "kept")
    assert told.quantization.method == "onnxruntime-static"
    assert told.quantization.options["calibrate"] == "minmax"


# --- searches --------------------------------------------------------------------------------------

BUDGET = {"size": "<= 1.5 x uniform", "time": "60 s"}


def test_a_search_buys_accuracy_with_bytes(bench: Bench) -> None:
    case, choice = bench.search(budget=BUDGET)
    uniform, taken = choice.tried[0], choice.taken
    assert taken.size_bytes is not None
    assert choice.limit_bytes is not None
    assert taken.size_bytes <= choice.limit_bytes
    assert taken.figures["sqnr"] > uniform.figures["sqnr"] + 1.0
    assert choice.on == "calibration"
    assert case.quantization.method == "onnxruntime-static"
    assert case.quantization.options["keep_float"]
    assert not choice.out_of_time
    # The recipe, made like any other case, is the candidate that was measured.
    made = prepared(case, material(case), cache=bench.cache, work=bench.work)
    assert made.artifact.size_bytes == taken.size_bytes


def test_a_bound_on_accuracy_is_reached_with_fewer_bytes(bench: Bench) -> None:
    best = bench.search(budget=BUDGET)[1].taken
    wanted = best.figures["sqnr"] - 3.0
    choice = bench.search(budget={**BUDGET, "sqnr": f">= {wanted:.3f} dB"})[1]
    assert choice.taken.figures["sqnr"] >= wanted - 1e-3
    assert choice.taken.size_bytes is not None
    assert best.size_bytes is not None
    assert choice.taken.size_bytes <= best.size_bytes


class StoppedError(Exception):
    """Somebody ended the run."""


class Stops(Announcer):
    """Ends a search when it is about to measure one more mixture."""

    def __init__(self, after: int) -> None:
        super().__init__(None)
        self.left = after

    def say(self, text: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoppedError(text)


def test_a_search_that_was_stopped_goes_on_where_it_was(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    quantizer = plugins.load("quantizers", "onnxruntime-static")
    made = 0
    original = quantizer.quantize

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal made
        made += 1
        return original(*args, **kwargs)

    monkeypatch.setattr(quantizer, "quantize", counted)
    case = bench.case(method="search", of=GOOD, budget=BUDGET)
    with pytest.raises(StoppedError):
        bench.settle(case, Stops(4))
    before, made = made, 0
    assert before == 5, "the uniform one and four mixtures"
    whole = bench.settle(case)[1]
    assert made == len(whole.tried) - before
    # More time, or another budget, measures nothing twice either.
    made = 0
    bench.settle(replace(case, quantization=_with(case, {**BUDGET, "time": "90 s"})))
    assert made == 0


def _with(case: Case, budget: dict[str, str]) -> Any:
    options = {**case.quantization.options, "budget": budget}
    return replace(case.quantization, options=options)


def test_a_budget_that_nothing_holds_is_refused_with_the_nearest(bench: Bench) -> None:
    budget = {"size": "<= 1.05 x uniform", "sqnr": ">= 90 dB", "time": "60 s"}
    with pytest.raises(QuantizeError, match=r"no mixture holds the budget.*wanted >= 90 dB"):
        bench.search(budget=budget)


def test_a_search_longer_than_its_case_is_refused(bench: Bench) -> None:
    with pytest.raises(QuantizeError, match=r"raise run.timeout"):
        bench.search(budget={"time": "30 min"})


def test_time_that_is_over_is_said(bench: Bench) -> None:
    choice = bench.search(budget={**BUDGET, "time": "0.01 s"})[1]
    assert choice.out_of_time
    assert choice.chosen == 0
    assert len(choice.tried) == 1
