"""The search of ``gate.run.sensitivity`` over real candidates, and the spec fragment that comes of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gate import plugins
from gate.backends.base import BackendError, Session
from gate.core.artifact import Artifact
from gate.core.case import Case
from gate.core.layer import LayersObserved
from gate.core.status import Status, Tier
from gate.core.tensors import TensorMap
from gate.data.base import Batch, SampleSet
from gate.judge.comparison import Comparison
from gate.judge.measure import Measured, measure
from gate.judge.tolerances import judge_tolerance
from gate.metrics.elementwise import SQNR_LIMIT_DB, sqnr_db
from gate.quantize.base import KeepingQuantizer, QuantizeError, Quantizer
from gate.quantize.keep_float import with_kept_names
from gate.run.cache import Cache
from gate.run.calibration import CalibrationStream
from gate.run.localise import Sensitivity
from gate.run.opened import Material, prepared, sessions
from gate.run.prepare import Prepared
from gate.run.sensitivity import Found, Kept, Quality, RefusedError, Search
from gate.run.trial import observed_on
from gate.tiers.layers import TABLE_BATCH, observe_layers

SEARCH_SAMPLES = 64
"""Evaluation samples that the search looks at; what it finds is checked on all of them."""
LAYER_SAMPLES = 8
_UNCOMPARED = Comparison(baseline=None, why_not="a search looks at no baseline")


class NoRankingError(Exception):
    """Layers of this case cannot be taken back to float one by one; the message says why."""


def sensitivity(
    case: Case,
    found: Material,
    *,
    cache: Cache,
    work: Path,
    bench: Path,
    budget_seconds: float,
    say: Callable[[str], None],
) -> Sensitivity:
    """Rank the layers of a case, find a small set that must stay in float, and check it.

    Args:
        case: what is to pass; its tolerances without a baseline count.
        found: its models and samples.
        cache: where a run would keep its candidate.
        work: folder for what a run writes.
        bench: an empty folder for candidates of the search.
        budget_seconds: wall time of the search; the check comes on top.
        say: told what is being done.

    Raises:
        NoRankingError: the method has no ``keep_float``, or no layer of the candidate is known to it.
    """
    quantizer: Quantizer = plugins.load("quantizers", case.quantization.method)
    if not isinstance(quantizer, KeepingQuantizer):
        raise NoRankingError(
            f"method '{case.quantization.method}' has no option that keeps layers in float"
        )
    say("looking at the candidate's layers")
    made = prepared(case, found, cache=cache, work=work)
    layers = layers_of(case, made, found.evaluation)
    names = names_of(layers, quantizer.keepable(made.base, case.quantization.options))
    if not names:
        raise NoRankingError("the method knows none of the candidate's layers by name")
    if hasattr(quantizer, "workbench"):
        quantizer.workbench = bench
    trial = _Trial(case, found, made=made, quantizer=quantizer, names=names, bench=bench)
    alone = {
        match.candidate: sqnr_db(match.isolated) if match.isolated is not None else None
        for match in layers.matches
    }
    search = Search(
        trial.quality,
        {layer: alone.get(layer) for layer in names},
        budget_seconds=budget_seconds,
        say=say,
    )
    try:
        result = search.run()
    except RefusedError as error:
        raise NoRankingError(str(error)) from error
    samples = trial.samples
    if result.kept is None or not result.kept:
        return Sensitivity(found=result, samples=samples, remark=_why_none(result))
    chosen = with_float(case, [name for layer in result.kept for name in names[layer]])
    say(f"checking {len(result.kept)} layers in float on all samples")
    passes, remark = _verified(chosen, found, cache, work)
    return Sensitivity(
        found=result,
        samples=samples,
        fragment=fragment(chosen),
        verified=passes,
        remark=remark,
    )


def fragment(case: Case) -> str:
    """The quantization of a case as it stands in a spec."""
    import yaml

    entry = {"method": case.quantization.method, **case.quantization.options}
    document = {"quantizations": {f"{case.quantization.name}-mixed": entry}}
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


class _Trial:
    """Makes candidates with some layers in float and measures them."""

    def __init__(
        self,
        case: Case,
        found: Material,
        *,
        made: Prepared,
        quantizer: Quantizer,
        names: Mapping[str, tuple[str, ...]],
        bench: Path,
    ) -> None:
        self._case = case
        self._found = found
        self._made = made
        self._quantizer = quantizer
        self._names = names
        self._out = bench / "candidate"
        self._batches = list(found.evaluation.batches(case.run.batch, limit=SEARCH_SAMPLES))
        self.samples = sum(len(batch.indices) for batch in self._batches)
        self._expected: list[TensorMap] = []

    def quality(self, kept: Kept) -> Quality:
        """Make and measure one candidate.

        Raises:
            RefusedError: the quantizer or the runtime refuses it.
        """
        case = with_float(self._case, [name for layer in kept for name in self._names[layer]])
        shutil.rmtree(self._out, ignore_errors=True)
        self._out.mkdir(parents=True)
        try:
            artifact = self._made.artifact if not kept else self._quantized(case)
            made = replace(self._made, artifact=artifact)
            with sessions(case, made) as (reference, candidate):
                if not self._expected:
                    self._expected = [reference.run(batch.inputs) for batch in self._batches]
                outputs = iter(self._expected)
                seen = _numerical(case, self._batches, lambda _: next(outputs), candidate)
        except (QuantizeError, BackendError) as error:
            raise RefusedError(str(error)) from error
        values = [m.value for m in seen.of(Tier.NUMERICAL, "sqnr")]
        # An output that is not finite, or has another shape, is as bad as can be.
        worst = min((-SQNR_LIMIT_DB if v is None else v for v in values), default=-SQNR_LIMIT_DB)
        return Quality(sqnr_db=worst, passes=not _failures(case, seen))

    def _quantized(self, case: Case) -> Artifact:
        calibration = self._found.calibration
        batches = (
            CalibrationStream(calibration, case.run.batch) if calibration is not None else None
        )
        return self._quantizer.quantize(
            self._made.base,
            batches,
            options=case.quantization.options,
            target=case.target,
            seed=case.run.seed,
            out_dir=self._out,
        )


def layers_of(case: Case, made: Prepared, evaluation: SampleSet) -> LayersObserved:
    """Both models' layers and the errors of each, seen in one pass over a few samples.

    Raises:
        BackendError: a runtime refuses a model.
    """
    limit = min(LAYER_SAMPLES, len(evaluation))
    sample = next(evaluation.batches(TABLE_BATCH, limit=TABLE_BATCH)).inputs
    with sessions(case, made) as (reference, candidate):
        return observe_layers(
            reference,
            candidate,
            sample=sample,
            batches=lambda size: (b.inputs for b in evaluation.batches(size, limit=limit)),
            tick=lambda _: None,
        ).layers


def names_of(layers: LayersObserved, known: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Quantized layer -> its names and those of what is fused into it, as the quantizer knows them."""
    rows = {row.name: row for row in layers.candidate}
    nameable = frozenset(known)
    found = {}
    for match in layers.matches:
        row = rows.get(match.candidate)
        own = [n for n in dict.fromkeys((match.candidate, *match.reference)) if n in nameable]
        if row is not None and own and (row.quantized or row.params_quantized):
            found[match.candidate] = tuple(own)
    return found


def with_float(case: Case, names: Sequence[str]) -> Case:
    """The case with more layers in float, by their exact names."""
    options = dict(case.quantization.options)
    if names:
        globs = [name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]") for name in names]
        options["keep_float"] = with_kept_names(options.get("keep_float"), globs)
    return replace(case, quantization=replace(case.quantization, options=options))


def _numerical(
    case: Case,
    batches: Iterable[Batch],
    reference: Callable[[TensorMap], TensorMap],
    candidate: Session,
) -> Measured:
    # The search is after the numerical tolerances alone.
    return measure(replace(observed_on(case, batches, reference, candidate), task=None))


def _failures(case: Case, measured: Measured) -> list[str]:
    """Numerical tolerances that do not hold; those counted from a baseline are left out."""
    failed = []
    for tolerance in case.tolerances:
        if tolerance.tier is not Tier.NUMERICAL:
            continue
        dedicated = case.target.dedicated
        checks = judge_tolerance(tolerance, measured, _UNCOMPARED, dedicated=dedicated)
        failed += [f"{c.rule}: {c.message}" for c in checks if c.status is Status.FAIL]
    return failed


def _verified(case: Case, found: Material, cache: Cache, work: Path) -> tuple[bool, str]:
    """Make the candidate as a run makes it and look at every evaluation sample."""
    made = prepared(case, found, cache=cache, work=work)
    with sessions(case, made) as (reference, candidate):
        batches = found.evaluation.batches(case.run.batch)
        failed = _failures(case, _numerical(case, batches, reference.run, candidate))
    if failed:
        return False, f"on all {len(found.evaluation)} samples it fails: {'; '.join(failed)}"
    return True, ""


def _why_none(result: Found) -> str:
    if result.start.passes:
        return "the numerical tolerances hold as it is: no layer need stay in float"
    if result.out_of_time:
        return "the budget ended before a set was found with which the numerical tolerances hold"
    return "the numerical tolerances do not hold with any set that was tried"
