"""Where baselines lie, and the only code that reads and writes them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from gate.baseline.errors import BaselineError
from gate.baseline.text import WAY_OUT, parse, render
from gate.baseline.transaction import interrupted, locked, replace_all
from gate.core.baseline import (
    Baseline,
    BaselineBroken,
    BaselineFound,
    BaselineLookup,
    BaselineMissing,
    BaselineNotComparable,
)
from gate.core.environment import DEFAULT_COMPARABILITY, Comparability, Environment

SIZE_LIMIT = 16 * 1024**2
"""Bytes; a baseline of a thousand layers is below one megabyte."""
_NAME_LIMIT = 160


class BaselineStore:
    """Folder of baselines: ``<spec>/<quantization>@<target>/<environment class>.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(
        self, case_id: str, environment: Environment, rule: Comparability = DEFAULT_COMPARABILITY
    ) -> Path:
        """Where the baseline of a case and of an environment's class under ``rule`` is, or would be."""
        return self.folder(case_id) / f"{_file_name(rule.class_of(environment))}.json"

    def place(self, baseline: Baseline) -> Path:
        """Where a baseline belongs."""
        return self.path(baseline.case_id, baseline.environment, baseline.comparability)

    def folder(self, case_id: str) -> Path:
        """Folder of all baselines of one case."""
        return self.root.joinpath(*(_file_name(part) for part in case_id.split("/", 1)))

    def lookup(
        self, case_id: str, environment: Environment, rule: Comparability = DEFAULT_COMPARABILITY
    ) -> BaselineLookup:
        """Find the baseline that a run in ``environment`` can be compared with under the spec's
        ``rule``. Never raises for what is in a file: that is what ``BaselineBroken`` is for.

        Raises:
            BaselineError: an interrupted update cannot be finished.
        """
        path = self.path(case_id, environment, rule)
        try:
            self._finish_interrupted()
            present = self._files_of(case_id)
        except OSError as error:
            return BaselineBroken(path=str(error.filename or path), reason=_unreadable(error))
        if path not in present:
            return self._elsewhere(environment, rule, path, present)
        try:
            baseline = self.read(path)
        except BaselineError as error:
            return BaselineBroken(path=str(path), reason=str(error))
        fault = _foreign(baseline, case_id, rule.class_of(environment))
        if fault:
            return BaselineBroken(path=str(path), reason=fault)
        return BaselineFound(baseline=baseline)

    def read(self, path: Path) -> Baseline:
        """Read one file.

        Raises:
            BaselineError: missing, too large, leading out of the folder, or not what ``render``
                wrote. The message does not name the file.
        """
        try:
            if not path.resolve().is_relative_to(self.root.resolve()):
                raise BaselineError(f"it is a link that leads out of {self.root}; {WAY_OUT}")
            with path.open("rb") as file:
                raw = file.read(SIZE_LIMIT + 1)
        except OSError as error:
            raise BaselineError(f"it cannot be read ({error.strerror}); {WAY_OUT}") from None
        if len(raw) > SIZE_LIMIT:
            raise BaselineError(f"it is larger than {SIZE_LIMIT} bytes; {WAY_OUT}")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise BaselineError(f"it is not UTF-8 text ({error.reason}); {WAY_OUT}") from None
        return parse(text)

    def check(self, path: Path) -> Baseline:
        """Read one file and check that it lies where its content belongs.

        Raises:
            BaselineError: as ``read``, or misplaced.
        """
        baseline = self.read(path)
        expected = self.place(baseline)
        if expected != path:
            raise BaselineError(f"it belongs to {expected}; move it there, or delete it")
        return baseline

    def files(self, case_id: str | None = None) -> tuple[Path, ...]:
        """All baseline files (of one case), sorted; hidden files are not baselines.

        Raises:
            BaselineError: a folder cannot be read, or an interrupted update cannot be finished.
        """
        start = self.root if case_id is None else self.folder(case_id)
        found: list[Path] = []
        try:
            self._finish_interrupted()
            if start.is_dir():
                for folder, _, names in os.walk(start, onerror=_raise):
                    found += (Path(folder, name) for name in names if _is_baseline(name))
        except OSError as error:
            raise BaselineError(f"{error.filename or start}: {_unreadable(error)}") from None
        return tuple(sorted(found))

    def write_all(self, baselines: Sequence[Baseline]) -> tuple[Path, ...]:
        """Write baselines, all of them or none.

        Raises:
            BaselineError: a number is not finite, two belong to one place, the disk is full, the
                folder is not writable or leads elsewhere, or another process holds the lock.
        """
        texts: dict[Path, str] = {}
        for baseline in baselines:
            path = self.place(baseline)
            if path in texts:
                raise BaselineError(f"{path}: two baselines for one place")
            texts[path] = render(baseline)
        with locked(self.root):
            replace_all(self.root, self._resolved(texts))
        return tuple(texts)

    def remove(self, paths: Iterable[Path]) -> None:
        """Delete baseline files, all of them or none.

        Raises:
            BaselineError: as ``write_all``.
        """
        with locked(self.root):
            replace_all(self.root, {}, tuple(self._resolved(dict.fromkeys(paths, ""))))

    def _resolved(self, texts: Mapping[Path, str]) -> dict[Path, str]:
        """The same with parents resolved: a folder that is a link must not lead a write away."""
        home = self.root.resolve()
        resolved = {path.parent.resolve() / path.name: text for path, text in texts.items()}
        for path in resolved:
            if not path.is_relative_to(home):
                raise BaselineError(f"{path}: leads out of {self.root}; nothing was changed")
        return resolved

    def _finish_interrupted(self) -> None:
        if interrupted(self.root):
            with locked(self.root):
                pass  # taking the lock repairs

    def _files_of(self, case_id: str) -> tuple[Path, ...]:
        """What lies in the folder of a case, links and folders in place of files included."""
        try:
            found = sorted(self.folder(case_id).iterdir())
        except FileNotFoundError:
            return ()
        return tuple(path for path in found if _is_baseline(path.name))

    def _elsewhere(
        self, here: Environment, rule: Comparability, path: Path, others: Sequence[Path]
    ) -> BaselineLookup:
        if not others:
            return BaselineMissing(path=str(path))
        reasons = []
        rule_changed = rule_known = left_behind = False
        for other in others:
            # A damaged or misplaced file may well be the one that is looked for.
            try:
                there = self.check(other)
            except BaselineError as error:
                return BaselineBroken(path=str(other), reason=str(error))
            own, differences = there.comparability, rule.differences(here, there.environment)
            rule_known = rule_known or own == rule
            # By the rule it was recorded under, it would be compared with.
            left_behind = left_behind or not own.differences(here, there.environment)
            if not differences:
                rule_changed = True
                differences = (f"under another rule, {_rule(own)}",)
            reasons.append(f"{there.environment_class} ({'; '.join(differences)})")
        return BaselineNotComparable(
            reason=f"this is {rule.class_of(here)}; recorded on {'; '.join(reasons)}",
            # An edit of the rule beside an upgrade hides behind what the new rule tells apart; where
            # a baseline has the new rule already, those of the old one are but left over.
            rule_changed=rule_changed or (left_behind and not rule_known),
        )


def _is_baseline(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _raise(error: OSError) -> None:
    raise error


def _unreadable(error: OSError) -> str:
    return f"it cannot be read ({error.strerror}); give permission to read it"


def _rule(rule: Comparability) -> str:
    parts = [f"{word}: {', '.join(names)}" for word, names in _parts(rule) if names]
    return f"environment: {{{'; '.join(parts)}}}" if parts else "without environment:"


def _parts(rule: Comparability) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("narrow", rule.narrow), ("widen", rule.widen)


def _foreign(baseline: Baseline, case_id: str, environment_class: str) -> str:
    if baseline.case_id != case_id:
        return f"it is the baseline of {baseline.case_id}, not of {case_id}; {WAY_OUT}"
    found = baseline.environment_class
    if found != environment_class:
        return f"it was recorded on {found}, not on {environment_class}; {WAY_OUT}"
    return ""


def _file_name(name: str) -> str:
    """A name as one path component: no separator, not hidden, not ``..``, not too long."""
    escaped = quote(name, safe="@+=,")
    if escaped.startswith("."):
        escaped = f"%2E{escaped[1:]}"
    if len(escaped) > _NAME_LIMIT:
        # The content is checked on reading, so a collision would be found, never used.
        escaped = f"{escaped[:_NAME_LIMIT]}~{sha256(name.encode()).hexdigest()[:12]}"
    return escaped
