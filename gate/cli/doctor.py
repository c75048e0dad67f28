"""``gate doctor``: what works on this machine, in which version, and why the rest does not."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, get_args

from gate import __version__, plugins
from gate.backends import isa
from gate.core.environment import Environment
from gate.core.spec import TargetSpec
from gate.core.status import ExitCode
from gate.report.format import size
from gate.report.grid import grid
from gate.report.style import Style, style_of
from gate.report.text import one_line
from gate.run.settings import default_cache_dir
from gate.spec.project import project_root

_DISTRIBUTION = "quantgate"
_EXTRA = re.compile(r"""^([A-Za-z0-9._-]+).*;.*\bextra\s*==\s*['"]([A-Za-z0-9._-]+)['"]""")
_COLOURS = {"available": "PASS", "unavailable": "SKIPPED", "broken": "ERROR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a plugin table (or one engine of a backend), tried out."""

    kind: str
    name: str
    state: str
    """``available``, ``unavailable`` (it says why), or ``broken`` (the table's line is wrong)."""
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the findings; what is merely not installed is no error."""
    findings = list(examine())
    machine = _machine()
    if args.json:
        document = {
            "gate_version": __version__,
            **machine,
            "plugins": [asdict(f) for f in findings],
        }
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        sys.stdout.write(_text(findings, machine, style_of(sys.stdout)))
    broken = any(finding.state == "broken" for finding in findings)
    return ExitCode.INFRASTRUCTURE if broken else ExitCode.PASS


def examine() -> Iterator[Finding]:
    """Try every line of every plugin table, and every engine of a backend that has several."""
    for kind in get_args(plugins.Kind):
        try:
            lines = plugins.table(kind)
        except plugins.DuplicatePluginError as error:
            yield Finding(kind=kind, name="(table)", state="broken", reason=str(error))
            continue
        for name, line in lines.items():
            try:
                found = list(_examine_one(kind, name, line))
            except Exception as error:  # noqa: BLE001 - whatever a broken plugin raises is its finding
                reason = f"{line.path}: {type(error).__name__}: {error}"
                found = [Finding(kind=kind, name=name, state="broken", reason=one_line(reason))]
            yield from found


def _examine_one(kind: plugins.Kind, name: str, line: plugins.Plugin) -> Iterator[Finding]:
    plugin = plugins.load(kind, name)
    reason = plugin.unavailable()
    if kind != "backends":
        versions = _versions(kind, plugin, line) if reason is None else {}
        yield _finding(kind, name, reason, versions)
        return
    engines = _engines(plugin)
    if reason is not None or not engines:
        yield _finding(kind, name, reason, {} if reason else _of_backend(plugin, name, {}))
        return
    for engine in engines:
        options = {"engine": engine}
        why = plugin.unavailable(_target(name, options))
        versions = {} if why else _of_backend(plugin, name, options)
        yield _finding(kind, f"{name}/{engine}", why, versions)


def _finding(kind: str, name: str, reason: str | None, versions: Mapping[str, str]) -> Finding:
    state = "available" if reason is None else "unavailable"
    return Finding(
        kind=kind, name=name, state=state, reason=one_line(reason or ""), versions=dict(versions)
    )


def _target(backend: str, options: Mapping[str, Any]) -> TargetSpec:
    return TargetSpec(name="doctor", backend=backend, threads=1, dedicated=False, options=options)


def _engines(backend: Any) -> list[str]:
    engine = backend.options_schema.get("properties", {}).get("engine", {})
    return list(engine.get("enum", ()))


def _of_backend(backend: Any, name: str, options: Mapping[str, Any]) -> Mapping[str, str]:
    environment: Environment = backend.environment(_target(name, options))
    return environment.versions


def _versions(kind: plugins.Kind, plugin: Any, line: plugins.Plugin) -> Mapping[str, str]:
    """Versions that the plugin tells, else those of the extra that installs what it needs."""
    if kind == "quantizers":
        told: Mapping[str, str] = plugin.versions()
        return told
    found = {}
    for text in metadata.requires(_DISTRIBUTION) or ():
        match = _EXTRA.match(text)
        if match and match[2] == line.extra:
            try:
                found[match[1]] = metadata.version(match[1])
            except metadata.PackageNotFoundError:
                continue  # the plugin says that it works without it
    return found


def _machine() -> dict[str, Any]:
    """What baselines and times depend on, and where things are kept."""
    environment = isa.environment(backend="", engine="", threads=1, versions={})
    cache = default_cache_dir(project_root())
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return {
        "python": sys.version.split()[0],
        "environment_class": environment.environment_class,
        "isa": list(environment.isa),
        "cpu_model": environment.cpu_model,
        "threads": usable,
        "cache": str(cache),
        "cache_bytes": _folder_bytes(cache),
    }


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() else 0
        except OSError:
            continue  # removed by a run meanwhile
    return total


def _text(findings: list[Finding], machine: Mapping[str, Any], style: Style) -> str:
    facts = {
        "gate": f"{__version__} on Python {machine['python']}",
        "environment class": machine["environment_class"],
        "processor": machine["cpu_model"],
        "instruction sets": ", ".join(machine["isa"]) or "none that select other kernels",
        "usable threads": machine["threads"],
        "cache": f"{machine['cache']} ({size(machine['cache_bytes'])})",
    }
    width = max(map(len, facts)) + 2
    lines = [f"{name:<{width}}{value}" for name, value in facts.items()]
    rows = [
        [
            finding.kind,
            finding.name,
            style.paint(finding.state, _COLOURS[finding.state]),
            finding.reason or ", ".join(f"{name} {v}" for name, v in finding.versions.items()),
        ]
        for finding in findings
    ]
    return (
        "\n".join([*lines, "", grid(["table", "name", "state", "versions, or why not"], rows)])
        + "\n"
    )
