"""Files and directories on the command line -> specs, or every mistake in them at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from gate import plugins
from gate.core.spec import Spec
from gate.spec import schema, stand_in
from gate.spec.build import Builder
from gate.spec.checks import check_globs, check_spec, check_together
from gate.spec.diagnostics import Diagnostic, SpecError, ordered, whole_file
from gate.spec.extends import Extender
from gate.spec.inside import leaves_repository
from gate.spec.nodes import Mapping, child, plain
from gate.spec.nodes import Sequence as NodeList
from gate.spec.probes import ProbesReader
from gate.spec.reader import SUFFIXES
from gate.spec.tasks import custom_table
from gate.spec.tolerances import TolerancesReader
from gate.spec.validate import describe, validate

MOST_SHOWN = 100
"""Diagnostics of one file."""


def load_specs(paths: Sequence[str], *, both: bool = False, stand_ins: bool = True) -> list[Spec]:
    """Read every spec under ``paths``, in order; the files of a directory sorted by name.

    Hidden files, names that start with ``_`` and what is under such directories are shared fragments
    and left out, unless named themselves. Of a spec with a stand-in the one that runs on this machine
    is given, with ``both`` both of them, and without ``stand_ins`` the named one always.

    Raises:
        SpecError: with all diagnostics of all files; also where there is no spec at all, or where
            an installed third-party plugin cannot be used.
    """
    files, diagnostics = find(paths)
    try:
        schema.current()
    except (schema.SchemaError, plugins.DuplicatePluginError) as error:
        raise SpecError([whole_file("installed plugins", str(error))]) from error
    extender = Extender()
    specs: list[Spec] = []
    for name in files:
        made, found = _load(name, extender, both=both, stand_ins=stand_ins)
        diagnostics.extend(_capped(name, found))
        specs.extend(made)
    diagnostics.extend(check_together(specs))
    if diagnostics:
        raise SpecError(diagnostics)
    return specs


def find(paths: Sequence[str]) -> tuple[list[str], list[Diagnostic]]:
    """Names of the spec files under ``paths``, each once, with forward slashes."""
    names: dict[Path, str] = {}
    diagnostics: list[Diagnostic] = []
    for given in paths:
        for path in _files(given, diagnostics):
            if path.suffix in SUFFIXES:
                names.setdefault(_resolved(path), _name(path))
                continue
            message = f"a spec is one of {', '.join(SUFFIXES)} or a directory of them"
            diagnostics.append(whole_file(_name(path), message))
    if not paths:
        diagnostics.append(whole_file(".", "no spec was given"))
    return list(names.values()), diagnostics


def _files(given: str, diagnostics: list[Diagnostic]) -> list[Path]:
    if not _is_dir(given):
        return [Path(given)]
    try:
        found = sorted(_walk(Path(given), set()))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        diagnostics.append(whole_file(_name(Path(str(error.filename or given))), message))
        return []
    if not found:
        diagnostics.append(whole_file(_name(Path(given)), "no spec in this directory"))
    # A file that is named on the command line is the caller's word; one that is come across is not.
    kept: list[Path] = []
    for path in found:
        if why := leaves_repository(str(path), str(path)):
            diagnostics.append(whole_file(_name(path), f"{why}, which is refused"))
        else:
            kept.append(path)
    return kept


def _load(
    name: str, extender: Extender, *, both: bool, stand_ins: bool
) -> tuple[list[Spec], list[Diagnostic]]:
    """One file; specs only where nothing is wrong with it."""
    root, diagnostics = extender.read(Path(name), name)
    if root is None:
        return [], diagnostics
    if not isinstance(root, Mapping):
        fault = whole_file(name, f"expected a mapping, found {describe(plain(root))}")
        return [], [*diagnostics, fault]
    spec, found = _made(root, name, complete=not diagnostics)
    other: Spec | None = None
    if (over := stand_in.stood_in(root, name)) is not None:
        other, more = _made(over, name, complete=not diagnostics)
        # What is wrong with a part that both have is told once.
        known = {(d.position, d.message) for d in found}
        new = [d for d in more if (d.position, d.message) not in known]
        found += stand_in.attributed(new, root)
    if spec is not None and not diagnostics and not found:
        if other is None:
            return [spec], []
        if both:
            pair = ((spec, False), (other, True))
            return [stand_in.marked(one, root, ran=ran) for one, ran in pair], []
        return [stand_in.chosen(spec, other, root, allowed=stand_ins)], []
    # A value that could not be read is not to be blamed for its kind as well.
    blamed = {d.position for d in diagnostics}
    return [], [*diagnostics, *(d for d in found if d.position not in blamed)]


def _made(root: Mapping, name: str, *, complete: bool) -> tuple[Spec | None, list[Diagnostic]]:
    """One document, merged; without ``complete`` parts of it could not be read, and none is built."""
    found = [*validate(root, complete=complete), *_tolerances(root), *check_globs(root)]
    if found or not complete:
        return None, found
    builder = Builder(root, name)
    spec = builder.build()
    found = [*builder.diagnostics, *(_attributed(d, name) for d in check_spec(spec, root))]
    return (None, found) if found else (spec, [])


def _attributed(found: Diagnostic, name: str) -> Diagnostic:
    """What is inherited may be right by itself, and wrong only together with what this file says."""
    if found.position.file == name:
        return found
    where = f"as {name} extends it"
    return replace(found, hint=f"{found.hint}; {where}" if found.hint else where)


def _capped(name: str, found: list[Diagnostic]) -> list[Diagnostic]:
    """A file that is not a spec at all must not bury the others."""
    first = list(ordered(found))
    if len(first) <= MOST_SHOWN:
        return first
    rest = whole_file(name, f"{len(first) - MOST_SHOWN} more mistakes are not shown")
    return [*first[:MOST_SHOWN], rest]


def _tolerances(root: Mapping) -> list[Diagnostic]:
    """What is wrong with tolerances, whatever else is wrong with the document."""
    reader = TolerancesReader(custom_table(root))
    node = child(root, "tolerances")
    reader.read(node, ("tolerances",))
    overrides = child(node, "overrides") if node is not None else None
    for index, item in enumerate(overrides.items if isinstance(overrides, NodeList) else ()):
        reader.read(child(item, "tolerances"), ("tolerances", "overrides", index, "tolerances"))
    probes = ProbesReader()
    probes.read(child(root, "probes"), ("probes",))
    for index, item in enumerate(overrides.items if isinstance(overrides, NodeList) else ()):
        probes.read(child(item, "probes"), ("tolerances", "overrides", index, "probes"))
    return [*reader.diagnostics, *probes.diagnostics]


def _is_dir(given: str) -> bool:
    try:
        return Path(given).is_dir()
    except (OSError, ValueError):  # a folder without permission, a NUL: reading it says so
        return False


def _walk(folder: Path, seen: set[Path]) -> Iterable[Path]:
    """Spec files below ``folder``; a link back to a directory above is followed once."""
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    for entry in folder.iterdir():
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        elif entry.suffix in SUFFIXES:
            yield entry


def _name(path: Path) -> str:
    # Names that are not UTF-8 must not break the printing of a diagnostic.
    return path.as_posix().encode("utf-8", "backslashreplace").decode()


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a loop of links; reading it says so
        return path
