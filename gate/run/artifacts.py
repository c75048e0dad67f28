"""Accepted candidates: the files behind the baselines, kept so that later runs can time them.

    <root>/<sha256>/artifact.json, files ...

Least recently used ones are removed when the folder outgrows its limit. The folder may be thrown
away, or carried from one CI run to the next: what it lacks is said, never guessed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gate.baseline.store import BaselineStore
from gate.core.artifact import Artifact, Format
from gate.core.baseline import BaselineFound
from gate.core.case import Case
from gate.core.convert import MalformedRecordError
from gate.core.result import CaseResult
from gate.quantize.candidate import given_format
from gate.run.cache import Cache
from gate.run.job import read_record, write_record
from gate.run.locks import FileLock
from gate.run.settings import default_cache_dir

RECORD = "artifact.json"
ARTIFACT_BYTES = 2 * 1000**3


class ArtifactStore:
    """A folder of artifacts by their SHA-256, shared by any number of processes."""

    def __init__(self, root: Path, *, limit_bytes: int = ARTIFACT_BYTES) -> None:
        self.root = root
        self._limit = limit_bytes

    def find(self, sha256: str) -> Artifact | str:
        """The artifact, its content checked; or why there is none that can be used."""
        folder = self.root / sha256
        if not folder.is_dir():
            return "it is not kept here"
        try:
            artifact = _located(read_record(folder / RECORD, Artifact), folder)
            os.utime(folder / RECORD)
        except (OSError, MalformedRecordError) as error:
            return f"its record is damaged ({error})"
        return artifact if content_sha256(artifact) == sha256 else "its file is damaged"

    def keep(self, artifact: Artifact) -> bool:
        """Copy an artifact here, whole or not at all; False where its content is not what its
        record says, which is then not kept.

        Raises:
            OSError: the folder cannot be written.
        """
        final = self.root / artifact.sha256
        if not isinstance(self.find(artifact.sha256), str):
            return True
        staging = self.root / f".{secrets.token_hex(8)}"
        lock = FileLock(self.root / ".lock")
        lock.acquire()
        try:
            staging.mkdir(parents=True)
            for file in _files(artifact):
                target = staging / file.relative_to(artifact.path.parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            copied = replace(artifact, path=staging / artifact.path.name)
            if content_sha256(copied) != artifact.sha256:
                return False
            write_record(staging / RECORD, replace(artifact, path=Path(artifact.path.name)))
            shutil.rmtree(final, ignore_errors=True)  # a damaged one
            staging.rename(final)
            self._evict(keep=final)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            lock.release()
        return True

    def _evict(self, keep: Path) -> None:
        """Remove the least recently used artifacts until the rest is within the limit."""
        found = sorted(
            (record.stat().st_mtime, record.parent) for record in self.root.glob(f"*/{RECORD}")
        )
        sizes = {folder: _bytes(folder) for _, folder in found}
        excess = sum(sizes.values()) - self._limit
        for _, folder in found:
            if excess <= 0:
                return
            if folder != keep:
                shutil.rmtree(folder, ignore_errors=True)
                excess -= sizes[folder]


def default_artifacts_dir(root: Path) -> Path:
    """``.gate/artifacts`` of the project."""
    return root / ".gate" / "artifacts"


def keep_candidates_of(
    results: Iterable[CaseResult], baselines: BaselineStore, root: Path
) -> list[str]:
    """Keep the candidates of those results that are what the baselines now say, where a tolerance
    of the case would have one run again.

    Args:
        results: of a run, some of which were accepted.
        baselines: as they are after that.
        root: of the project.

    Returns:
        One line a case whose candidate is not to be found any more, or cannot be kept.
    """
    from gate.judge.latency import wants_base  # NumPy with it: not where only a folder is asked for

    cache = Cache(default_cache_dir(root))
    store = ArtifactStore(default_artifacts_dir(root))
    said = []
    for result in results:
        case, observation = result.case, result.observation
        if observation is None or not wants_base(case):
            continue
        found = baselines.lookup(case.id, observation.environment, case.comparability)
        sha256 = observation.artifacts.get("candidate", "")
        if (
            not isinstance(found, BaselineFound)
            or found.baseline.artifacts.get("candidate") != sha256
            or not isinstance(store.find(sha256), str)
        ):
            continue
        artifact = cache.artifact(sha256) or _given(case, sha256)
        why = "" if artifact is not None else "it is neither cached nor given as a file"
        try:
            if artifact is not None and not store.keep(artifact):
                why = "its file was changed meanwhile"
        except OSError as error:
            why = f"it cannot be written ({error.strerror})"
        if why:
            said.append(
                f"{case.id}: the accepted candidate was not kept: {why}; later runs compare latency"
                " by a stored ratio instead of running it beside theirs"
            )
    return said


def content_sha256(artifact: Artifact) -> str | None:
    """SHA-256 of an artifact as its maker took it; None where its files cannot be read."""
    from gate.models.base import ModelError
    from gate.models.hashing import files_sha256
    from gate.models.onnx_files import inspect_onnx

    try:
        if artifact.format is Format.ONNX:
            return inspect_onnx(artifact.path).sha256
        return files_sha256([artifact.path])
    except ModelError:
        return None


def _given(case: Case, sha256: str) -> Artifact | None:
    """The artifact of a case whose candidate is a file of the user's."""
    path = case.quantization.options.get("path")
    if case.quantization.method != "candidate" or not isinstance(path, str):
        return None
    artifact = Artifact(
        format=given_format(case.quantization.options),
        path=Path(path),
        sha256=sha256,
        size_bytes=0,
        producer="candidate",
        options=case.quantization.options,
    )
    if content_sha256(artifact) != sha256:
        return None
    return replace(artifact, size_bytes=sum(file.stat().st_size for file in _files(artifact)))


def _files(artifact: Artifact) -> Sequence[Path]:
    """The file and, for ONNX, its external data."""
    if artifact.format is not Format.ONNX:
        return [artifact.path]
    from gate.models.onnx_files import inspect_onnx

    return [artifact.path, *inspect_onnx(artifact.path).external]


def _located(artifact: Artifact, folder: Path) -> Artifact:
    path = folder / artifact.path.name
    if artifact.path != Path(artifact.path.name):
        raise MalformedRecordError(f"{artifact.path} leads out of the folder")
    return replace(artifact, path=path)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
