"""Methods that choose: a case with ``ladder`` or ``search`` becomes one with an explicit recipe.

That happens before anything else of the case is made, so that whatever follows (quantizing, opening,
observing, judging, drills) sees an ordinary case. The choice is kept in the cache: until something
that it depends on changes, every run takes the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from gate import plugins
from gate.backends.base import Backend, BackendError
from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.choice import Choice, Tried
from gate.core.convert import from_plain, to_plain
from gate.core.spec import QuantizationSpec
from gate.data.base import SampleSet
from gate.models.base import LoadedModel, ModelError
from gate.quantize.base import QuantizeError, Quantizer
from gate.run.announce import Announcer
from gate.run.cache import Cache
from gate.run.candidates import kept_candidate
from gate.run.identity import entry_sources, gate_sources, installed_versions, told_of
from gate.run.mixing import mixed
from gate.run.trial import Alone, Bench, tried
from gate.spec.choosing import chooses, possible
from gate.tiers.numerical import OutputError

_REFUSALS = (QuantizeError, BackendError, ModelError, OutputError)


def settled(
    case: Case,
    native: LoadedModel,
    *,
    evaluation: SampleSet,
    calibration: SampleSet | None,
    cache: Cache,
    announcer: Announcer,
    work: Path,
    given: Path | None = None,
    alone: Alone = nullcontext,
) -> tuple[Case, Choice | None]:
    """The case with its quantization made explicit; itself where the method does not choose.

    Args:
        case: a case of any method.
        native: the reference as its source gave it.
        evaluation: evaluation samples.
        calibration: calibration samples.
        cache: where the choice is kept, and what was measured for it.
        announcer: told what is tried.
        work: folder for what a run writes.
        given: folder of kept candidates: the recipe is that of the candidate there.
        alone: gives a context in which candidates are timed.

    Raises:
        QuantizeError: nothing to choose from works, or a search holds no budget.
    """
    if not chooses(case.quantization.method):
        return case, None
    if given is not None:
        artifact = kept_candidate(given, case.id)
        return _explicit(case, artifact.producer, artifact.options), None
    samples = _samples(case, evaluation, calibration)
    bench = Bench(
        native=native,
        samples=samples,
        calibration=calibration,
        cache=cache,
        announcer=announcer,
        work=work / "choice",
        alone=alone,
    )
    with cache.slot("choice", _key(case, bench)) as slot:
        announcer.cache("choice", hit=slot.entry is not None)
        entry = slot.entry
        if entry is None:
            choice = _chosen(case, bench)
            slot.staging()
            entry = slot.commit(to_plain(choice))
    choice = from_plain(Choice, entry.meta)
    return _explicit(case, choice.method, choice.options), choice


def note(choice: Choice) -> str:
    """What was chosen and why, in a line."""
    taken = choice.taken
    if choice.how == "search":
        return f"search: {choice.remark}, on {choice.samples} {choice.on} samples"
    before = [f"{one.name}: {one.why}" for one in choice.tried[: choice.chosen]]
    head = f"ladder: took {taken.name}, rung {choice.chosen + 1}"
    if not choice.met:
        head = f"ladder: no rung holds the tolerances; took {taken.name}, the last that can be made"
        before = [f"{one.name}: {one.why}" for one in choice.tried]
    return f"{head} (not {'; not '.join(before)})" if before else head


def _explicit(case: Case, method: str, options: Mapping[str, JsonValue]) -> Case:
    recipe = QuantizationSpec(name=case.quantization.name, method=method, options=dict(options))
    return replace(case, quantization=recipe)


def _samples(case: Case, evaluation: SampleSet, calibration: SampleSet | None) -> SampleSet:
    default = "evaluation" if case.quantization.method == "ladder" else "calibration"
    on = case.quantization.options.get("on", default)
    if on == "evaluation":
        return evaluation
    if calibration is None:
        raise QuantizeError(
            f"{case.quantization.method} chooses on calibration samples; give data.calibration, or"
            " say 'on: evaluation'"
        )
    return calibration


def _chosen(case: Case, bench: Bench) -> Choice:
    found = possible(case.model, case.quantization, case.target)
    if case.quantization.method == "search":
        (of,) = found
        return mixed(case, of, bench)
    return _climbed(case, found, bench)


def _climbed(case: Case, rungs: tuple[QuantizationSpec, ...], bench: Bench) -> Choice:
    """Try rung after rung until one holds; where none does, the last that could be made is taken,
    whose verdict then says what it does not hold."""
    began = time.monotonic()
    done: list[Tried] = []
    for number, rung in enumerate(rungs):
        bench.announcer.say(f"ladder: rung {number + 1} of {len(rungs)}, {rung.name}")
        done.append(_tried(case, rung, replace(bench, work=bench.work / str(number))))
        if done[-1].holds:
            break
    made = [index for index, one in enumerate(done) if one.size_bytes is not None]
    if not made:
        told = "; ".join(f"{one.name}: {one.why}" for one in done)
        raise QuantizeError(f"no rung of the ladder can be made: {told}")
    taken = rungs[made[-1]]
    return Choice(
        how="ladder",
        method=taken.method,
        options=dict(taken.options),
        chosen=made[-1],
        tried=tuple(done),
        on=str(case.quantization.options.get("on", "evaluation")),
        samples=len(bench.samples),
        met=done[-1].holds,
        seconds=time.monotonic() - began,
    )


def _tried(case: Case, rung: QuantizationSpec, bench: Bench) -> Tried:
    quantizer: Quantizer = plugins.load("quantizers", rung.method)
    if (reason := quantizer.unavailable()) is not None:
        return Tried(name=rung.name, holds=False, why=f"cannot work here: {reason}")
    began = time.monotonic()
    try:
        return tried(case, rung, bench)
    except _REFUSALS as error:
        spent = time.monotonic() - began
        return Tried(name=rung.name, holds=False, why=f"refused: {error}", seconds=spent)


def _key(case: Case, bench: Bench) -> Mapping[str, JsonValue]:
    rungs = possible(case.model, case.quantization, case.target)
    versions = dict(installed_versions())
    for rung in rungs:
        versions.update(plugins.load("quantizers", rung.method).versions())
    backend: Backend = plugins.load("backends", case.target.backend)
    metrics = [to_plain(metric) for metric in case.metrics]
    return {
        "model": bench.native.sha256,
        **told_of(case.model),
        "decoding": dict(case.model.decoding),
        "metrics": metrics,
        "entries": entry_sources([case.model.options, case.quantization.options, metrics]),
        "calibration": bench.calibration.digest() if bench.calibration is not None else None,
        "samples": bench.samples.digest(),
        "quantization": to_plain(case.quantization),
        "rungs": [to_plain(rung) for rung in rungs],
        "target": to_plain(case.target),
        "environment": to_plain(backend.environment(case.target)),
        "tolerances": [{**to_plain(t), "where": None} for t in case.chosen_by],
        "dropped": list(case.dropped),
        "run": to_plain(case.run),
        "versions": versions,
        "gate": gate_sources("quantize", "models", "backends", "metrics", "judge", "tiers", "run"),
    }
