"""Candidates kept outside the cache: made by one stack of versions, run by another.

    <folder>/<case>/artifact.json     what it is
    <folder>/<case>/files/...         the file, its external data beside it

The file's SHA-256 is checked before it is used: what lies there need not come from this machine.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gate.core.artifact import Artifact, Format
from gate.core.convert import MalformedRecordError
from gate.models.hashing import files_sha256
from gate.models.onnx_files import inspect_onnx
from gate.quantize.base import QuantizeError
from gate.run.job import read_record, write_record
from gate.run.store import escaped

RECORD = "artifact.json"
FILES = "files"


def keep_candidate(root: Path, case_id: str, artifact: Artifact) -> None:
    """Copy a candidate below ``root``; one that was kept for the case before is replaced.

    Raises:
        OSError: it cannot be written.
    """
    folder = root / escaped(case_id)
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    (staging / FILES).mkdir(parents=True)
    home = artifact.path.parent
    for file in _parts(artifact):
        to = staging / FILES / file.relative_to(home)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
    write_record(staging / RECORD, replace(artifact, path=Path(FILES) / artifact.path.name))
    shutil.rmtree(folder, ignore_errors=True)
    staging.rename(folder)


def kept_candidate(root: Path, case_id: str) -> Artifact:
    """The candidate that was kept for a case.

    Raises:
        QuantizeError: there is none, or it is not what was kept.
    """
    folder = root / escaped(case_id)
    try:
        record = read_record(folder / RECORD, Artifact)
    except FileNotFoundError:
        raise QuantizeError(f"{root}: holds no candidate of {case_id}") from None
    except (OSError, MalformedRecordError) as error:
        raise QuantizeError(f"{folder / RECORD}: {error}; keep the candidate again") from error
    path = folder / FILES / record.path.name
    artifact = replace(record, path=path)
    if not path.is_file():
        raise QuantizeError(f"{path}: is not there; keep the candidate again")
    if files_sha256(_parts(artifact)) != record.sha256:
        raise QuantizeError(f"{path}: is not the file that was kept; keep the candidate again")
    return artifact


def has_candidate(root: Path, case_id: str) -> bool:
    """Whether one was kept; it is verified when it is used."""
    return (root / escaped(case_id) / RECORD).is_file()


def _parts(artifact: Artifact) -> Sequence[Path]:
    if artifact.format is not Format.ONNX:
        return (artifact.path,)
    parts = inspect_onnx(artifact.path)
    return (parts.path, *parts.external)
