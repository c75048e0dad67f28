"""The search of ``gate.run.mixture`` over real candidates; what was measured is kept in the cache.

A search that was stopped, or that gets more time, finds there what it measured before and goes on.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gate import plugins
from gate.backends.base import Backend, BackendError
from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.choice import Choice, Tried
from gate.core.convert import to_plain
from gate.core.layer import LayersObserved
from gate.core.spec import QuantizationSpec
from gate.judge.measure import measure
from gate.metrics.elementwise import SQNR_LIMIT_DB, relative_mse_percent
from gate.models.base import ModelError
from gate.quantize.base import KeepingQuantizer, QuantizeError, Quantizer
from gate.quantize.search import DEFAULT_SAMPLES, Budget, budget_of
from gate.run.calibration import CalibrationStream
from gate.run.fragment import layers_of, names_of, with_float
from gate.run.front import Layer, Mixed, Point
from gate.run.identity import entry_sources, gate_sources, installed_versions, told_of
from gate.run.mixture import MixtureSearch, Result, Wanted
from gate.run.opened import sessions
from gate.run.sensitivity import RefusedError
from gate.run.trial import Bench, figures, made_candidate, observe_outputs, trial_case
from gate.tiers.numerical import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gate.core.tensors import TensorMap

_FLOAT_BYTES, _INT8_BYTES = 4, 1


def mixed(case: Case, of: QuantizationSpec, bench: Bench) -> Choice:
    """Search a mixture for a case whose method is ``search``.

    Args:
        case: its options hold budget and strategy.
        of: the quantization whose layers are mixed.
        bench: ``samples`` are those that the search looks at.

    Raises:
        QuantizeError: the uniform candidate cannot be made or mixed, or no mixture that was measured
            holds the budget.
    """
    began = time.monotonic()
    options = case.quantization.options
    budget = budget_of(options)
    if budget.seconds >= case.run.timeout_seconds:
        raise QuantizeError(
            f"the search may take {budget.seconds:g} s and the whole case {case.run.timeout_seconds:g}"
            " s: raise run.timeout or lower budget.time"
        )
    with tempfile.TemporaryDirectory(prefix="gate-mix-") as folder:
        trial = _Trial(case, of, bench, budget, Path(folder))
        with _workbench(trial.quantizer, Path(folder)):
            found = _searched(trial, budget, str(options.get("strategy", "greedy")), bench)
    points, chosen = found.points, found.points[found.chosen]
    if not found.met:
        raise QuantizeError(_none_holds(points, chosen, trial, found))
    return Choice(
        how="search",
        method=of.method,
        options=dict(trial.case_of(chosen.kept).quantization.options),
        chosen=found.chosen,
        tried=tuple(
            replace(trial.told[point.kept], holds=not (why := trial.why_not(point)), why=why)
            for point in points
        ),
        on=str(options.get("on", "calibration")),
        samples=trial.samples,
        met=found.met,
        remark=_remark(points, chosen, trial),
        limit_bytes=trial.limit_bytes,
        out_of_time=found.out_of_time,
        seconds=time.monotonic() - began,
    )


def _searched(trial: _Trial, budget: Budget, strategy: str, bench: Bench) -> Result:
    wanted = Wanted(
        limit_bytes=trial.limit_bytes,
        demands_accuracy=budget.demands_accuracy,
        strategy=strategy,
        seconds=budget.seconds,
        mixtures=budget.mixtures,
    )
    search = MixtureSearch(
        trial.point, trial.layers, wanted, say=lambda text: bench.announcer.say(f"search: {text}")
    )
    try:
        return search.run()
    except RefusedError as error:
        raise QuantizeError(f"the uniform candidate cannot be measured: {error}") from error


class _Trial:
    """Makes mixtures of one quantization and measures them."""

    def __init__(
        self, case: Case, of: QuantizationSpec, bench: Bench, budget: Budget, folder: Path
    ) -> None:
        self.quantizer: Quantizer = plugins.load("quantizers", of.method)
        if not isinstance(self.quantizer, KeepingQuantizer):
            raise QuantizeError(f"method '{of.method}' has no option that keeps layers in float")
        # Nothing but outputs is observed of a mixture.
        self._case = replace(trial_case(case, of), tolerances=())
        self._bench = bench
        self._budget = budget
        self._folder = folder
        self._made = made_candidate(self._case, bench)
        seen = layers_of(self._case, self._made, bench.samples)
        self._names = names_of(seen, self.quantizer.keepable(self._made.base, of.options))
        if not self._names:
            raise QuantizeError("the method knows none of the candidate's layers by name")
        self.layers = _layers(seen, self._names)
        self.limit_bytes = budget.limit_bytes(
            uniform=self._made.artifact.size_bytes, reference=self._made.reference.size_bytes
        )
        wanted = case.quantization.options.get("samples", DEFAULT_SAMPLES)
        self.samples = min(int(wanted), len(bench.samples))
        self._expected: list[TensorMap] = []
        self.told: dict[Mixed, Tried] = {}

    def case_of(self, kept: Sequence[str]) -> Case:
        """The case with these layers in float."""
        return with_float(self._case, [name for layer in kept for name in self._names[layer]])

    def why_not(self, point: Point) -> str:
        """What of the budget a mixture does not hold; empty where it holds all."""
        over = self.limit_bytes is not None and point.size_bytes > self.limit_bytes
        bytes_ = f"{point.size_bytes} B, wanted <= {self.limit_bytes} B" if over else ""
        return "; ".join(filter(None, (point.misses, bytes_)))

    def point(self, kept: Mixed) -> Point:
        """Make and measure one mixture, or take what was measured before.

        Raises:
            RefusedError: the quantizer or the runtime refuses it.
        """
        case = self.case_of(kept)
        with self._bench.cache.slot("mixture", self._key(case)) as slot:
            entry = slot.entry
            if entry is None:
                measured = self._measured(case, kept)
                slot.staging()
                entry = slot.commit(measured)
        meta = entry.meta
        if meta["refused"]:
            raise RefusedError(meta["refused"])
        sqnr, drop = meta["figures"].get("sqnr"), meta["figures"].get("top1_drop")
        misses = self._budget.misses(sqnr_db=sqnr, top1_drop_pp=drop)
        self.told[kept] = Tried(
            name=f"{len(kept)} of {len(self.layers)} layers in float" if kept else "uniform",
            holds=not misses,
            why=misses,
            size_bytes=meta["size_bytes"],
            figures=meta["figures"],
            kept=kept,
            seconds=meta["seconds"],
        )
        return Point(
            kept=kept,
            size_bytes=meta["size_bytes"],
            # An output that is not finite, or has another shape, is as bad as can be.
            sqnr_db=-SQNR_LIMIT_DB if sqnr is None else sqnr,
            misses=misses,
        )

    def _measured(self, case: Case, kept: Mixed) -> dict[str, Any]:
        began = time.monotonic()
        try:
            artifact = self._made.artifact if not kept else self._quantized(case)
            made = replace(self._made, artifact=artifact)
            with sessions(case, made) as (reference, candidate):
                if not self._expected:
                    batches = self._bench.samples.batches(case.run.batch, limit=self.samples)
                    self._expected = [reference.run(batch.inputs) for batch in batches]
                answers = iter(self._expected)
                seen = observe_outputs(
                    case, self._bench, lambda _: next(answers), candidate, limit=self.samples
                )
        except (QuantizeError, BackendError, ModelError, OutputError) as error:
            return {"refused": str(error) or type(error).__name__}
        return {
            "refused": "",
            "size_bytes": artifact.size_bytes,
            "figures": dict(figures(case, measure(seen, with_layers=False))),
            "seconds": time.monotonic() - began,
        }

    def _quantized(self, case: Case) -> Artifact:
        out = self._folder / "candidate"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        calibration = self._bench.calibration
        return self.quantizer.quantize(
            self._made.base,
            None if calibration is None else CalibrationStream(calibration, case.run.batch),
            options=case.quantization.options,
            target=case.target,
            seed=case.run.seed,
            out_dir=out,
        )

    def _key(self, case: Case) -> Mapping[str, JsonValue]:
        bench = self._bench
        backend: Backend = plugins.load("backends", case.target.backend)
        return {
            # The uniform candidate stands for the float model, the calibration and the options.
            "uniform": self._made.artifact.sha256,
            "reference": self._made.reference.sha256,
            **told_of(case.model),
            "entries": entry_sources([case.model.options, case.quantization.options]),
            "calibration": bench.calibration.digest() if bench.calibration is not None else None,
            "samples": bench.samples.digest(),
            "limit": self.samples,
            "batch": case.run.batch,
            "method": case.quantization.method,
            "options": dict(case.quantization.options),
            "backend": case.target.backend,
            "target": dict(case.target.options),
            "threads": case.target.threads,
            "environment": to_plain(backend.environment(case.target)),
            "seed": case.run.seed,
            "versions": {**installed_versions(), **self.quantizer.versions()},
            "gate": gate_sources("quantize", "models", "backends", "metrics"),
        }


def _layers(seen: LayersObserved, names: Mapping[str, tuple[str, ...]]) -> dict[str, Layer]:
    rows = {row.name: row for row in seen.candidate}
    found = {}
    for match in seen.matches:
        if match.candidate not in names:
            continue
        sums = match.isolated
        percent = relative_mse_percent(sums) if sums is not None else None
        found[match.candidate] = Layer(
            noise=None if percent is None else percent / 100.0,
            extra_bytes=rows[match.candidate].params * (_FLOAT_BYTES - _INT8_BYTES),
        )
    return found


@contextmanager
def _workbench(quantizer: Quantizer, folder: Path) -> Iterator[None]:
    """Let a quantizer keep what does not depend on the layers in float, where it can."""
    if not hasattr(quantizer, "workbench"):
        yield
        return
    before = quantizer.workbench
    bench = folder / "bench"
    bench.mkdir()
    quantizer.workbench = bench
    try:
        yield
    finally:
        quantizer.workbench = before


def _remark(points: Sequence[Point], chosen: Point, trial: _Trial) -> str:
    uniform = points[0]
    more = 100.0 * (chosen.size_bytes / uniform.size_bytes - 1.0)
    return (
        f"{len(chosen.kept)} of {len(trial.layers)} layers in float: sqnr {uniform.sqnr_db:.3g} -> "
        f"{chosen.sqnr_db:.3g} dB for {more:+.2g} % bytes; {len(points)} mixtures measured"
    )


def _none_holds(points: Sequence[Point], nearest: Point, trial: _Trial, found: Result) -> str:
    ended = "; the search ended before it was done: raise budget.time" if found.out_of_time else ""
    return (
        f"no mixture holds the budget: the nearest of {len(points)} keeps {len(nearest.kept)} of "
        f"{len(trial.layers)} layers in float and misses {trial.why_not(nearest)}{ended}"
    )
