"""Candidates by case, kept outside the cache: made by one stack of versions, run by another.

<folder>/files/<sha256>/...     the artifacts
<folder>/cases/<case>.json      which of them is whose
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gate.core.artifact import Artifact
from gate.core.convert import MalformedRecordError
from gate.quantize.base import QuantizeError
from gate.run.artifacts import ArtifactStore
from gate.run.job import read_record, write_record
from gate.run.store import escaped


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCandidate:
    """The candidate of one case."""

    case_id: str
    sha256: str


def keep_candidate(root: Path, case_id: str, artifact: Artifact) -> None:
    """Copy a candidate below ``root``; it takes the place of what was kept for the case before.

    Raises:
        OSError: it cannot be written.
        QuantizeError: the file is no longer what its maker wrote.
    """
    if not _files(root).keep(artifact):
        raise QuantizeError(f"{artifact.path}: was changed after it was made; nothing was kept")
    place = _place(root, case_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_record(place, KeptCandidate(case_id=case_id, sha256=artifact.sha256))


def kept_candidate(root: Path, case_id: str) -> Artifact:
    """The candidate that was kept for a case, its content checked.

    Raises:
        QuantizeError: there is none, or it is not what was kept.
    """
    try:
        record = read_record(_place(root, case_id), KeptCandidate)
    except FileNotFoundError:
        raise QuantizeError(f"{root}: holds no candidate of {case_id}") from None
    except (OSError, MalformedRecordError) as error:
        raise QuantizeError(f"{_place(root, case_id)}: {error}; keep it again") from error
    found = _files(root).find(record.sha256)
    if isinstance(found, str):
        raise QuantizeError(f"{root}: the candidate of {case_id}: {found}; keep it again")
    return found


def _files(root: Path) -> ArtifactStore:
    return ArtifactStore(root / "files")


def _place(root: Path, case_id: str) -> Path:
    return root / "cases" / f"{escaped(case_id)}.json"
