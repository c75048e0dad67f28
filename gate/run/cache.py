"""Content-addressed store of what is expensive to make: artifacts, conversions, reference outputs.

    <root>/v1/<kind>/<key>/manifest.json, files ...
    <root>/v1/locks/<kind>-<key>.make        held while an entry is looked up or made
    <root>/v1/locks/<kind>-<key>.use         shared by its users, exclusive for its removal
    <root>/v1/staging/<kind>-<key>/          what is being made

A key is the digest of everything that the content depends on. Entries appear whole (one rename)
and are verified against their manifest each time they are used; one that does not agree is said and
made again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gate.core.artifact import Artifact
from gate.core.canonical import JsonValue, canonical_json, digest
from gate.core.convert import from_plain
from gate.run.locks import Announce, FileLock, silently

MANIFEST = "manifest.json"
_NO_PLACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
ARTIFACT_KIND = "artifact"


class CacheError(OSError):
    """The folder cannot be written; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A verified entry; its files stay where they are for the life of this process."""

    directory: Path
    meta: JsonValue


class Slot:
    """The place of one key, locked: look at ``entry``, else make it in ``staging`` and ``commit``."""

    def __init__(self, root: Path, kind: str, parts: Mapping[str, JsonValue]) -> None:
        key = digest({"kind": kind, **parts})
        self.name = f"{kind}-{key}"
        self._parts = parts
        self._final = root / kind / key
        self._staging = root / "staging" / self.name
        self.entry: Entry | None = None
        """None where there is none, or none that can be trusted."""
        self.damage: str | None = None
        """A note for people, where an entry that was found could not be used."""

    def look(self) -> None:
        """Fill ``entry``; an entry that fails verification is removed and described in ``damage``."""
        if not self._final.exists():
            return
        try:
            meta = _verified(self._final)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            which = f"{self._final.parent.name}/{self._final.name[:12]}"
            self.damage = f"a damaged cache entry was made again: {which}: {error}"
            shutil.rmtree(self._final)
            return
        os.utime(self._final / MANIFEST)
        self.entry = Entry(directory=self._final, meta=meta)

    def staging(self) -> Path:
        """An empty folder to make the entry in. What an earlier maker left there is removed."""
        shutil.rmtree(self._staging, ignore_errors=True)
        self._staging.mkdir(parents=True)
        return self._staging

    def commit(self, meta: JsonValue) -> Entry:
        """Turn the staging folder into the entry."""
        content = {
            "parts": dict(self._parts),
            "meta": meta,
            "files": {
                path.relative_to(self._staging).as_posix(): _sha256(path)
                for path in _files(self._staging)
            },
        }
        manifest = {"content": content, "sha256": digest(content)}
        (self._staging / MANIFEST).write_text(canonical_json(manifest), encoding="utf-8")
        self._final.parent.mkdir(parents=True, exist_ok=True)
        self._staging.rename(self._final)
        self.entry = Entry(directory=self._final, meta=json.loads(canonical_json(meta)))
        return self.entry

    def discard(self) -> None:
        """Remove what was begun and not committed."""
        shutil.rmtree(self._staging, ignore_errors=True)


class Cache:
    """A store below one folder, shared by any number of processes."""

    def __init__(
        self, root: Path, *, limit_bytes: int | None = None, announce: Announce = silently
    ) -> None:
        self.root = root / "v1"
        self._limit = limit_bytes
        self._announce = announce

    @contextmanager
    def slot(self, kind: str, parts: Mapping[str, JsonValue]) -> Iterator[Slot]:
        """Lock the place of a key while it is looked up and, where needed, made.

        Afterwards the entry stays protected from eviction until this process ends.

        Raises:
            CacheError: the folder cannot be written, or its disk is full.
        """
        try:
            with self._locked(kind, parts) as slot:
                yield slot
            self.evict()
        except OSError as error:
            # What is made in the block may fail over files of its own.
            if error.errno not in _NO_PLACE and not self._is_at_fault(error):
                raise
            raise CacheError(
                f"{self.root.parent}: the cache cannot be written: {error.strerror}; make room or give "
                "permission, name another folder in GATE_CACHE, or run with --no-cache"
            ) from error

    @contextmanager
    def _locked(self, kind: str, parts: Mapping[str, JsonValue]) -> Iterator[Slot]:
        slot = Slot(self.root, kind, parts)
        make, use = self._lock(slot.name, "make"), self._lock(slot.name, "use")
        make.acquire(announce=self._announce, reason=f"another case is making the same {kind}")
        use.acquire(shared=True)
        try:
            slot.look()
            yield slot
        finally:
            slot.discard()
            if slot.entry is None:
                use.release()  # otherwise the kernel does, when this process ends
            make.release()

    def _is_at_fault(self, error: OSError) -> bool:
        """Whether it is about the store's folder or one on the way to it, or about permission inside."""
        if not isinstance(error.filename, str):
            return False
        root, path = self.root.absolute(), Path(error.filename).absolute()
        inside = path.is_relative_to(root) and not isinstance(error, FileNotFoundError)
        return inside or root.is_relative_to(path)

    def artifact(self, sha256: str) -> Artifact | None:
        """A quantized artifact by its content, whatever it was made from; None where there is none.

        It stays protected from eviction until this process ends.
        """
        for manifest in sorted(self.root.glob(f"{ARTIFACT_KIND}/*/{MANIFEST}")):
            directory = manifest.parent
            if f'"{sha256}"' not in _text(manifest):
                continue
            use = self._lock(f"{ARTIFACT_KIND}-{directory.name}", "use")
            use.acquire(shared=True)
            try:
                found = from_plain(Artifact, _verified(directory))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                use.release()
                continue  # whoever looks for this key makes it again, and says so
            if found.sha256 == sha256:
                return replace(found, path=directory / found.path)
            use.release()
        return None

    def evict(self) -> None:
        """Remove the least recently used entries until the rest is within the limit.

        Entries in use by a living process stay.
        """
        guard = FileLock(self.root / "locks" / "evict.lock")
        if self._limit is None or not guard.try_acquire():
            return
        try:
            found = [_age_and_size(path) for path in self.root.glob(f"*/*/{MANIFEST}")]
            entries = sorted(entry for entry in found if entry is not None)
            excess = sum(size for _, size, _ in entries) - self._limit
            for _, size, directory in entries:
                if excess <= 0:
                    return
                use = self._lock(f"{directory.parent.name}-{directory.name}", "use")
                if use.try_acquire():
                    shutil.rmtree(directory, ignore_errors=True)
                    excess -= size
                use.release()
        finally:
            guard.release()

    def _lock(self, name: str, purpose: str) -> FileLock:
        return FileLock(self.root / "locks" / f"{name}.{purpose}")


def _verified(directory: Path) -> JsonValue:
    """The meta of an entry whose manifest and files are what they were when it was made."""
    manifest = json.loads((directory / MANIFEST).read_bytes())
    content = manifest["content"]
    if digest(content) != manifest["sha256"]:
        raise ValueError("the manifest was changed")
    files = {path.relative_to(directory).as_posix() for path in _files(directory)} - {MANIFEST}
    if files != set(content["files"]):
        raise ValueError("files are missing or were added")
    for name, expected in content["files"].items():
        if _sha256(directory / name) != expected:
            raise ValueError(f"{name} was changed")
    return content["meta"]


def _text(manifest: Path) -> str:
    try:
        return manifest.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # removed by another process meanwhile


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _age_and_size(manifest: Path) -> tuple[float, int, Path] | None:
    try:
        used = manifest.stat().st_mtime
        size = sum(path.stat().st_size for path in _files(manifest.parent))
    except FileNotFoundError:
        return None  # removed by another process meanwhile
    return used, size, manifest.parent
