"""Names of the stages in which hostile probes run, so that a crash in one of them is survived.

A probe may end the process (a kernel that reads beyond its tensor). The engine learns from the last
stage which side of which probe it was, and runs the case again with that one left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gate.core.observation import RunFailure
from gate.core.probes import PROBES
from gate.run.job import CrashedProbe

STAGE = "probes"
_STAGE = re.compile(r"probe (\w+) of the (reference|candidate)")
_ENDINGS = frozenset({"crash", "memory"})


def stage_of(probe: str, side: str) -> str:
    """Stage in which a side of a probe runs."""
    return f"probe {probe} of the {side}"


def crashed_probe(failure: RunFailure | None) -> CrashedProbe | None:
    """The probe that a worker ended in; None where it ended elsewhere, or otherwise."""
    if failure is None or failure.kind not in _ENDINGS:
        return None
    found = _STAGE.fullmatch(failure.stage)
    if found is None or found[1] not in PROBES:
        return None
    return CrashedProbe(probe=found[1], side=found[2], message=failure.message)


def together(seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage, with those of single probes added up under one name."""
    result: dict[str, float] = {}
    for stage, spent in seconds.items():
        name = STAGE if _STAGE.fullmatch(stage) else stage
        result[name] = result.get(name, 0.0) + spent
    return result
