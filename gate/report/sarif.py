"""SARIF 2.1.0 for code scanning: one result a finding, at the line of the spec that demands it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

from gate import __version__
from gate.core.canonical import JsonValue, digest
from gate.core.result import CaseResult
from gate.core.verdict import Verdict
from gate.judge.wording import count
from gate.metrics.catalogue import CATALOGUE
from gate.report.findings import Finding, Level, findings

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"
MOST_RESULTS = 5000
"""As many as GitHub keeps of one run."""

_OWN_RULES = {
    "gate.error": "The case could not be judged.",
    "gate.skipped": "The case could not run on this machine.",
    "gate.expected-failure": "The spec expects the case to fail, and it passed.",
}


def render(verdicts: Sequence[Verdict], results: Sequence[CaseResult]) -> str:
    """Write the log as one JSON document; passing cases have no result in it."""
    found = findings(verdicts, results)
    kept = found[:MOST_RESULTS]
    names = sorted({finding.rule for finding in kept})
    index = {name: place for place, name in enumerate(names)}
    run: dict[str, JsonValue] = {
        "tool": {
            "driver": {
                "name": "quantgate",
                "semanticVersion": __version__,
                "rules": [_rule(name) for name in names],
            }
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {
            "SRCROOT": {"description": {"text": "Root of the repository that holds the specs."}}
        },
        "invocations": [_invocation(len(found) - len(kept))],
        "results": [_result(finding, index[finding.rule]) for finding in kept],
    }
    document = {"$schema": SCHEMA, "version": VERSION, "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _rule(name: str) -> dict[str, JsonValue]:
    metrics = {f"{info.tier}.{info.name}": info for info in CATALOGUE}
    info = metrics.get(name)
    text = _OWN_RULES.get(name) or (
        f"{info.formula}, {info.direction} is better" if info else f"The rule {name} of the gate."
    )
    return {
        "id": name,
        "name": name,
        "shortDescription": {"text": name},
        "fullDescription": {"text": text},
        "defaultConfiguration": {"level": Level.ERROR.value},
    }


def _invocation(left_out: int) -> dict[str, JsonValue]:
    told: dict[str, JsonValue] = {"executionSuccessful": True}
    if left_out:
        text = f"{count(left_out, 'finding')} left out, the mildest: {MOST_RESULTS} are the limit"
        told["toolExecutionNotifications"] = [{"level": "warning", "message": {"text": text}}]
    return told


def _result(found: Finding, rule_index: int) -> dict[str, JsonValue]:
    # A relative reference with a colon in its first segment would read as a scheme.
    uri = quote(found.file, safe="/")
    artifact: dict[str, JsonValue] = {"uri": uri}
    if not found.file.startswith("/"):
        artifact["uriBaseId"] = "SRCROOT"
    else:
        artifact["uri"] = f"file://{uri}"
    return {
        "ruleId": found.rule,
        "ruleIndex": rule_index,
        "level": found.level.value,
        "message": {"text": f"{found.case_id}: {found.message}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": artifact,
                    "region": {"startLine": found.line, "startColumn": found.column},
                },
                "logicalLocations": [{"fullyQualifiedName": found.case_id, "kind": "module"}],
            }
        ],
        # Neither line nor figures: the same finding is the same alert after an edit of the spec.
        "partialFingerprints": {"gateCheck/v1": digest([found.case_id, found.rule, found.subject])},
    }
