"""The file behind a badge: the endpoint format of shields.io, schema 1."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from gate.core.verdict import Verdict
from gate.report.outcome import Outcome, outcome

LABEL = "quantization gate"

# Word, colour: the first that occurs decides.
_WORDS = (
    (Outcome.ERROR, "in error", "red"),
    (Outcome.FAIL, "failed", "red"),
    (Outcome.INCONCLUSIVE, "inconclusive", "yellow"),
)


def render(verdicts: Sequence[Verdict]) -> str:
    """One JSON object; red where anything is no pass, grey where nothing was judged."""
    counted = Counter(outcome(verdict) for verdict in verdicts)
    passed = counted[Outcome.PASS] + counted[Outcome.XFAIL]
    message, color = (
        (f"{passed} passed", "brightgreen") if passed else ("nothing judged", "lightgrey")
    )
    for word, said, colour in reversed(_WORDS):
        if counted[word]:
            message, color = f"{counted[word]} {said}, {passed} passed", colour
    if counted[Outcome.SKIPPED]:
        message += f", {counted[Outcome.SKIPPED]} skipped"
    document = {"schemaVersion": 1, "label": LABEL, "message": message, "color": color}
    return json.dumps(document, indent=1) + "\n"
