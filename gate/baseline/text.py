"""A baseline as text: canonical, reviewable in a diff, and sealed with a digest of its content."""

from __future__ import annotations

import json
import math
from typing import Any

from gate.baseline.errors import BaselineError
from gate.core.baseline import BASELINE_SCHEMA, Baseline
from gate.core.canonical import canonical_json, digest
from gate.core.convert import MalformedRecordError, from_plain, to_plain

WAY_OUT = "run `gate baseline update` to record it anew, or restore the file from version control"
_SEAL = "digest"


def render(baseline: Baseline) -> str:
    """Write a baseline: sorted keys, one fact a line, one layer a line, numbers in full precision.

    Raises:
        BaselineError: a number is NaN or infinite.
    """
    fault = _not_finite(baseline)
    if fault:
        raise BaselineError(
            f"{baseline.case_id}: a baseline holds finite numbers only, not {fault}"
        )
    content = to_plain(baseline)
    content[_SEAL] = digest(content)
    return _block(content, "") + "\n"


def parse(text: str) -> Baseline:
    """Read what ``render`` wrote; layout is free, content is sealed.

    Raises:
        BaselineError: no JSON, another schema, a wrong digest or a malformed record.
    """
    try:
        content = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"it is not valid JSON ({error}); {WAY_OUT}") from None
    if not isinstance(content, dict):
        raise BaselineError(f"it is not a JSON object; {WAY_OUT}")
    schema = content.get("schema")
    if type(schema) is int and schema > BASELINE_SCHEMA:
        raise BaselineError(
            f"it was written by a newer gate (schema {schema}, this one reads {BASELINE_SCHEMA}); "
            "install that release, or record it anew with this one by `gate baseline update`"
        )
    seal = content.pop(_SEAL, None)
    try:
        intact = seal == digest(content)
    except (ValueError, RecursionError) as error:
        raise BaselineError(f"it holds what no baseline can ({error}); {WAY_OUT}") from None
    if not intact:
        raise BaselineError(f"its digest does not fit: it was edited or damaged; {WAY_OUT}")
    try:
        baseline = from_plain(Baseline, content)
    except MalformedRecordError as error:
        raise BaselineError(f"it is malformed ({error}); {WAY_OUT}") from None
    fault = _not_finite(baseline)
    if fault:
        raise BaselineError(f"it holds what no baseline can ({fault}); {WAY_OUT}")
    return baseline


def _not_finite(baseline: Baseline) -> str:
    """The first number that nothing can be compared with; empty where there is none."""
    for value in baseline.values:
        if not math.isfinite(value.value):
            return f"{value.tier}.{value.metric} of {value.subject}: {value.value}"
    for name, rms in baseline.pin.output_rms.items() if baseline.pin is not None else ():
        if not math.isfinite(rms):
            return f"RMS of {name}: {rms}"
    for layer in baseline.layers:
        scales = layer.output_qparams.scales if layer.output_qparams is not None else ()
        if not all(map(math.isfinite, scales)):
            return f"a scale of layer {layer.name}"
    return ""


def _block(value: Any, indent: str) -> str:
    """Objects and lists of objects over several lines; everything below a list item on one."""
    inner = indent + "  "
    if isinstance(value, dict) and value:
        lines = [f"{inner}{canonical_json(k)}: {_block(value[k], inner)}" for k in sorted(value)]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(item, dict) for item in value):
        return "[\n" + ",\n".join(inner + canonical_json(item) for item in value) + f"\n{indent}]"
    return canonical_json(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")
