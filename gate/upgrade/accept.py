"""The new stack's results as baselines: each with what the upgrade did to its case as the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gate.baseline.make import provenance_of
from gate.baseline.store import BaselineStore
from gate.baseline.update import Recording, prepare
from gate.judge.wording import count, names
from gate.run.artifacts import keep_candidates_of
from gate.upgrade.compare import Upgraded
from gate.upgrade.report import LeftOut, reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What an update of the baselines after an upgrade comes to."""

    recordings: tuple[Recording, ...]
    unchanged: tuple[str, ...]
    """Cases whose baseline already says the same, but for noise."""
    skipped: LeftOut
    """(case, why nothing is to be recorded): of specs that say ``baseline: ignore``."""
    left_out: LeftOut
    """(case, why its baseline stays): it cannot run, fails its tolerances, or gets worse."""


def acceptance(
    upgraded: Sequence[Upgraded],
    store: BaselineStore,
    *,
    heading: str,
    root: Path,
    accept_worse: Sequence[str],
) -> Acceptance:
    """Sort the cases into those whose baselines are renewed and those that are left out. Writes nothing.

    What is recorded is what the new stack made and ran in the comparison: the numbers of the report.
    A case that is left out keeps no other from being accepted.

    Args:
        upgraded: the cases that were compared.
        store: the baselines.
        heading: what was upgraded, the beginning of every reason.
        root: of the project, whose commit is recorded.
        accept_worse: globs of metrics that may get worse.

    Raises:
        BaselineError: an interrupted earlier update cannot be finished.
    """
    recordings: list[Recording] = []
    unchanged: list[str] = []
    skipped: list[tuple[str, str]] = []
    left_out: list[tuple[str, str]] = []
    provenance = provenance_of("", root)
    for item in upgraded:
        told = replace(provenance, reason=reason(item, heading))
        update = prepare([item.result], store, told)
        skipped += update.skipped
        unchanged += update.unchanged
        left_out += update.refused
        loosened = update.loosened(accept_worse)
        if loosened:
            words = " ".join(f"--accept-worse {metric}" for metric in loosened)
            why = f"{names(loosened)} would get worse; if that is meant: {words}"
            left_out.append((item.case.id, why))
        else:
            recordings += update.recordings
    return Acceptance(
        recordings=tuple(recordings),
        unchanged=tuple(unchanged),
        skipped=tuple(skipped),
        left_out=tuple(left_out),
    )


def write(
    accepted: Acceptance, upgraded: Sequence[Upgraded], store: BaselineStore, root: Path
) -> list[str]:
    """Write all of the baselines or none, and keep the candidates behind them.

    Returns:
        What was done, a line each.

    Raises:
        BaselineError: they cannot be written.
    """
    written = store.write_all([recording.baseline for recording in accepted.recordings])
    done = f"{count(len(written), 'baseline')} written, {len(accepted.unchanged)} unchanged"
    return [done, *keep_candidates_of([item.result for item in upgraded], store, root)]
