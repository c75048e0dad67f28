"""What a case is expected to cost, in seconds, from files of the repository alone.

Every machine of a build matrix partitions the plan for itself, so two of them must never see
different costs: neither this machine's past runs nor files outside the specs are looked at.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate.core.case import Case
from gate.core.result import CaseResult
from gate.core.status import Tier
from gate.quantize.search import budget_of
from gate.run.job import write_text
from gate.spec.choosing import possible
from gate.spec.formats import needs_calibration

COSTS_FILE = "gate-costs.json"
"""Read from the project's root where no other is named; ``gate merge --write-costs`` writes it."""
COSTS_SCHEMA = 1

# A worker that imports its frameworks, builds both sides and probes memory.
_START_SECONDS = 6.0
# One sample through both sides: a floor for the loop, and what an input element costs in a
# convolutional network of ordinary depth on one core.
_SAMPLE_SECONDS = 0.0005
_ELEMENT_SECONDS = 2e-7
# Observing every layer of a sample costs so many plain samples.
_LAYER_FACTOR = 8.0
# A training step costs so many plain samples for each of its own: forwards, backwards, the float model.
_TRAINING_FACTOR = 5.0
# Where a spec takes all samples of a source, their number is not known before it is read.
_UNKNOWN_SAMPLES = 1000


class CostsError(ValueError):
    """A file that holds no costs; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds a case: known from past runs where a file says so, else estimated."""

    known: Mapping[str, float] = field(default_factory=dict)

    def milliseconds(self, case: Case) -> int:
        """Expected cost, at least 1; whole numbers add up to the same in every order."""
        seconds = self.known.get(case.id)
        return max(1, round(1000 * (estimate(case) if seconds is None else seconds)))


def estimate(case: Case) -> float:
    """Seconds that ``case`` may take, from its samples, its inputs' sizes and its method."""
    elements = sum(
        math.prod(axis for axis in declared.shape if isinstance(axis, int))
        for declared in case.model.inputs.values()
    )
    sample = _SAMPLE_SECONDS + _ELEMENT_SECONDS * elements
    starts = 1.0
    passes = 2.0 * _samples(case.data.evaluation.samples)
    if case.data.calibration is not None and needs_calibration(
        case.quantization.method, case.quantization.options
    ):
        epochs = case.quantization.options.get("epochs", 0)
        passes += _samples(case.data.calibration.samples) * (1 + _TRAINING_FACTOR * epochs)
    if Tier.LAYERS in case.tiers:
        passes += _LAYER_FACTOR * case.run.layer_samples
    if Tier.DEVICE in case.tiers:
        rounds = case.run.timing_warmup + case.run.timing_rounds
        passes += 4.0 * case.run.timing_batch * rounds * case.run.timing_processes
        starts += 0.2 * case.run.timing_processes
    seconds = _START_SECONDS * starts + sample * passes
    if case.quantization.method == "search":
        return seconds + budget_of(case.quantization.options).seconds
    # A ladder may try each of its rungs as a case of its own.
    tried = possible(case.model, case.quantization, case.target)
    rungs = (replace(case, quantization=rung) for rung in tried)
    return seconds + sum(estimate(rung) for rung in rungs)


def read_costs(path: Path) -> Costs:
    """Read what :func:`write_costs` wrote.

    Raises:
        CostsError: the file is missing or holds something else.
    """
    try:
        plain = json.loads(path.read_bytes())
    except OSError as error:
        raise CostsError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CostsError(f"{path}: is no JSON: {error}") from None
    seconds = plain.get("seconds") if isinstance(plain, dict) else None
    if not isinstance(seconds, dict) or plain.get("schema") != COSTS_SCHEMA:
        raise CostsError(
            f"{path}: expected"
            f' {{"schema": {COSTS_SCHEMA}, "seconds": {{"<case>": <seconds>}}}};'
            " 'gate merge --write-costs' writes such a file"
        )
    for name, value in seconds.items():
        if type(value) not in (int, float) or not (math.isfinite(value) and value >= 0):
            raise CostsError(f"{path}: {name}: expected seconds, found {value!r:.80}")
    return Costs(known=seconds)


def write_costs(path: Path, results: Sequence[CaseResult]) -> None:
    """Keep the seconds that each observed case took, in a form that diffs well."""
    seconds = {
        result.case.id: round(sum(result.observation.stage_seconds.values()), 1)
        for result in results
        if result.observation is not None
    }
    document = {"schema": COSTS_SCHEMA, "seconds": dict(sorted(seconds.items()))}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def _samples(count: int | None) -> int:
    return _UNKNOWN_SAMPLES if count is None else count
