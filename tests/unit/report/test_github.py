"""What a pull request shows: annotations, SARIF, badge and job summary."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from gate.cli.main import main
from gate.core.observation import RunFailure
from gate.core.result import CaseResult
from gate.core.status import Status, Tier
from gate.core.tolerance import SourcePosition
from gate.core.verdict import Verdict
from gate.report import badge, github, sarif, summary
from gate.report.findings import Level, findings
from gate.spec.diagnostics import Diagnostic
from tests.unit.report.records import case, check, implicit, observation, tolerance

Pair = tuple[Verdict, CaseResult]


def failing(case_id: str = "digits/a@ort", checks: int = 1) -> Pair:
    bad = [check(f"rule{i}", Status.FAIL, subject=f"s{i}") for i in range(checks)]
    verdict = Verdict(case_id=case_id, checks=(check("top1_drop"), *bad))
    return verdict, CaseResult(case=case(case_id), observation=observation(case_id))


def crashed(case_id: str = "digits/c@ort") -> Pair:
    failure = RunFailure(kind="crash", stage="open", message="it\nfell, 50% : over")
    return Verdict(case_id=case_id, checks=(), failure=failure), CaseResult(
        case=case(case_id), failure=failure
    )


def passing(case_id: str = "digits/p@ort") -> Pair:
    return Verdict(case_id=case_id, checks=(check("top1_drop"),)), CaseResult(
        case=case(case_id), observation=observation(case_id)
    )


def skipped(case_id: str = "digits/s@ort") -> Pair:
    return Verdict(case_id=case_id, checks=(), skipped="no runtime"), CaseResult(
        case=case(case_id), skipped="no runtime"
    )


def doubtful(case_id: str = "digits/i@ort") -> Pair:
    checks = (check("top1_drop", Status.INCONCLUSIVE),)
    return Verdict(case_id=case_id, checks=checks), CaseResult(
        case=case(case_id), observation=observation(case_id)
    )


def split(*pairs: Pair) -> tuple[list[Verdict], list[CaseResult]]:
    return [verdict for verdict, _ in pairs], [result for _, result in pairs]


def test_findings_name_the_line_that_demands_it() -> None:
    (found,) = findings(*split(failing()))
    assert (found.file, found.line, found.column) == ("specs/digits.yaml", 14, 9)
    assert found.level is Level.ERROR
    assert found.rule == "device.rule0"
    assert "= 0.25 pp, demanded < 1 pp" in found.message


def test_every_case_comes_first_then_every_rule_then_the_rest() -> None:
    rules = [
        check("a", Status.FAIL, subject="1"),
        check("a", Status.FAIL, subject="2"),
        check("b", Status.FAIL, subject="1"),
    ]
    one = Verdict(case_id="digits/x@ort", checks=tuple(rules))
    two, result_two = failing("digits/y@ort", checks=2)
    result = CaseResult(case=case("digits/x@ort"), observation=observation("digits/x@ort"))
    found = findings([one, two], [result, result_two])
    assert [(f.case_id[-5], f.rule[7:]) for f in found] == [
        ("x", "a"), ("y", "rule0"), ("x", "b"), ("y", "rule1"), ("x", "a"),
    ]  # fmt: skip


def test_levels_follow_what_a_case_came_to_and_passes_say_nothing() -> None:
    found = findings(*split(passing(), skipped(), doubtful(), failing(), crashed()))
    assert [(f.case_id, f.level.value) for f in found] == [
        ("digits/c@ort", "error"),
        ("digits/a@ort", "error"),
        ("digits/i@ort", "warning"),
        ("digits/s@ort", "note"),
    ]
    assert (found[0].file, found[0].line) == ("specs/digits.yaml", 1)


def test_an_expected_failure_that_passed_is_a_finding_and_what_it_covers_is_none() -> None:
    unexpected_pass = Verdict(
        case_id="digits/x@ort", checks=(check("top1_drop"),), expected_failure="known"
    )
    as_expected = Verdict(
        case_id="digits/y@ort", checks=(check("sqnr", Status.FAIL),), expected_failure="known"
    )
    elsewhere = Verdict(
        case_id="digits/z@ort",
        checks=(check("sqnr", Status.FAIL), check("kl_divergence", Status.FAIL)),
        expected_failure="known",
        expected_metrics=("sqnr",),
    )
    results = [CaseResult(case=case(f"digits/{n}@ort"), skipped="-") for n in "xyz"]
    found = findings([unexpected_pass, as_expected, elsewhere], results)
    assert {(f.case_id, f.rule) for f in found} == {
        ("digits/x@ort", "gate.expected-failure"),
        ("digits/z@ort", "device.kl_divergence"),
    }


def test_files_are_named_from_the_root_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (found,) = findings(*split(failing()))
    assert found.file == "project/specs/digits.yaml"
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "elsewhere"))
    (found,) = findings(*split(failing()))
    assert found.file == "specs/digits.yaml"


COMMAND = re.compile(r"::(error|warning|notice) ([^:]*(?:%3A[^:]*)*)::([^\r\n]*)")


def parsed(text: str) -> list[tuple[str, dict[str, str], str]]:
    """As GitHub reads commands: percent escapes are undone after splitting."""
    found = []
    for line in text.splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        pairs = dict(pair.split("=", 1) for pair in match[2].split(","))
        found.append((match[1], {k: unquote(v) for k, v in pairs.items()}, unquote(match[3])))
    return found


def test_annotations_are_escaped_as_github_reads_them() -> None:
    ((kind, where, message),) = parsed(github.render(*split(crashed("digits/a,b:c@ort"))))
    assert kind == "error"
    assert where["title"] == "gate: digits/a,b:c@ort"
    assert where["line"] == "1"
    assert message == "crash in stage 'open': it fell, 50% : over"


@pytest.mark.parametrize(
    "text", ["a\nb::error::x", "a\r\n::set-output name=x::1", "100%0Ax", "\x1b[31m"]
)
def test_no_text_can_make_a_second_command(text: str) -> None:
    line = github.command("error", text, file=text, title=text)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert len(re.findall(r"^::", line, re.M)) == 1
    assert "%250A" in line or "%0A" not in line.replace("%250A", "")


def test_no_more_annotations_than_github_shows_and_the_last_says_so() -> None:
    pairs = [failing(f"digits/q{i}@ort", checks=2) for i in range(8)] + [
        skipped(f"digits/s{i}@ort") for i in range(3)
    ]
    commands = parsed(github.render(*split(*pairs)))
    errors = [entry for entry in commands if entry[0] == "error"]
    assert len(errors) == github.MOST_A_STEP
    assert errors[-1][2].startswith("7 more findings")
    # Every case is among those that are shown.
    assert {where["title"] for _, where, _ in errors[:8]} == {
        f"gate: digits/q{i}@ort" for i in range(8)
    }
    assert len([entry for entry in commands if entry[0] == "notice"]) == 3


def test_mistakes_of_specs_are_marked_at_their_place() -> None:
    place = SourcePosition(file="specs/a.yaml", line=3, column=5)
    fault = Diagnostic(position=place, path="model.id", message="is empty", hint="give one")
    ((kind, where, message),) = parsed(github.render_diagnostics([fault]))
    assert (kind, where["file"], where["line"], where["col"]) == ("error", "specs/a.yaml", "3", "5")
    assert message == "model.id: is empty (give one)"


def test_what_a_worker_printed_commands_nothing() -> None:
    text = github.quiet("table\n::error::forged\n")
    first, *middle, last = text.splitlines()
    token = re.fullmatch(r"::stop-commands::([0-9a-f]{32})", first)
    assert token
    assert last == f"::{token[1]}::"
    assert middle == ["table", "::error::forged"]
    assert github.quiet("x") != github.quiet("x")


# --- SARIF -------------------------------------------------------------------------------------------

_TEXT = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 1}},
}
STRICT_SARIF: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "pattern": "sarif-2.1.0"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "additionalProperties": False,
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "originalUriBaseIds": {"type": "object"},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "additionalProperties": False,
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name", "rules"],
                                "additionalProperties": False,
                                "properties": {
                                    "name": {"type": "string", "minLength": 1},
                                    "semanticVersion": {"pattern": r"^\d+\.\d+\.\d+"},
                                    "rules": {
                                        "type": "array",
                                        "uniqueItems": True,
                                        "items": {
                                            "type": "object",
                                            "required": ["id", "shortDescription", "fullDescription"],
                                            "additionalProperties": False,
                                            "properties": {
                                                "id": {"type": "string", "minLength": 1},
                                                "name": {"type": "string"},
                                                "shortDescription": _TEXT,
                                                "fullDescription": _TEXT,
                                                "defaultConfiguration": {
                                                    "type": "object",
                                                    "required": ["level"],
                                                },
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "additionalProperties": False,
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {"type": "array"},
                            },
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations",
                                         "partialFingerprints"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": {"type": "string"},
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": _TEXT,
                                "partialFingerprints": {
                                    "type": "object",
                                    "additionalProperties": {"type": "string"},
                                },
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "required": ["physicalLocation"],
                                        "additionalProperties": False,
                                        "properties": {
                                            "logicalLocations": {"type": "array"},
                                            "physicalLocation": {
                                                "type": "object",
                                                "required": ["artifactLocation", "region"],
                                                "properties": {
                                                    "artifactLocation": {
                                                        "type": "object",
                                                        "required": ["uri"],
                                                        "properties": {
                                                            "uri": {"pattern": r"^[^ \\]+$"},
                                                            "uriBaseId": {"const": "SRCROOT"},
                                                        },
                                                        "additionalProperties": False,
                                                    },
                                                    "region": {
                                                        "type": "object",
                                                        "required": ["startLine", "startColumn"],
                                                        "additionalProperties": False,
                                                        "properties": {
                                                            "startLine": {"type": "integer", "minimum": 1},
                                                            "startColumn": {"type": "integer", "minimum": 1},
                                                        },
                                                    },
                                                },
                                                "additionalProperties": False,
                                            },
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}  # fmt: skip


def log_of(*pairs: Pair) -> Any:
    document = json.loads(sarif.render(*split(*pairs)))
    jsonschema.validate(document, STRICT_SARIF)
    (run,) = document["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ids == sorted(set(ids))
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
    return run


def test_sarif_has_a_result_for_every_finding_and_none_for_a_pass() -> None:
    run = log_of(passing(), skipped(), doubtful(), failing(checks=3), crashed())
    assert [r["level"] for r in run["results"]].count("error") == 4
    assert {r["ruleId"] for r in run["results"]} >= {"gate.error", "gate.skipped", "device.rule1"}
    known = next(r for r in run["tool"]["driver"]["rules"] if r["id"] == "device.top1_drop")
    assert "is better" in known["fullDescription"]["text"]
    assert log_of(passing())["results"] == []


def test_a_finding_keeps_its_fingerprint_when_its_line_or_value_changes() -> None:
    verdict, result = failing()
    moved = check("rule0", Status.FAIL, subject="s0", value=0.75)
    moved = type(moved)(
        **{name: getattr(moved, name) for name in moved.__slots__ if name != "tolerance"},
        tolerance=tolerance(
            Tier.DEVICE,
            "rule0",
            "< 1 pp",
            where=SourcePosition(file="specs/digits.yaml", line=99, column=1),
        ),
    )
    later = Verdict(case_id=verdict.case_id, checks=(moved,))
    before, after = log_of((verdict, result))["results"], log_of((later, result))["results"]
    assert before[0]["partialFingerprints"] == after[0]["partialFingerprints"]
    assert before[0]["locations"] != after[0]["locations"]
    other = log_of(failing("digits/other@ort"))["results"]
    assert other[0]["partialFingerprints"] != before[0]["partialFingerprints"]


def test_sarif_is_cut_to_what_github_keeps_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 3)
    run = log_of(*(failing(f"digits/q{i}@ort", checks=2) for i in range(4)))
    assert len(run["results"]) == 3
    (note,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "5 findings left out" in note["message"]["text"]


def test_a_file_name_with_blanks_is_a_valid_uri() -> None:
    verdict, result = failing("my digits/a@ort")
    where = SourcePosition(file="specs/my digits#1.yaml", line=2, column=1)
    bad = check("x", Status.FAIL)
    placed = type(bad)(
        **{name: getattr(bad, name) for name in bad.__slots__ if name != "tolerance"},
        tolerance=tolerance(Tier.DEVICE, "x", "< 1 pp", where=where),
    )
    run = log_of((Verdict(case_id=verdict.case_id, checks=(placed,)), result))
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "specs/my%20digits%231.yaml"


# --- badge and summary ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "message", "color"),
    [
        ([passing()], "1 passed", "brightgreen"),
        ([passing(), skipped()], "1 passed, 1 skipped", "brightgreen"),
        ([passing(), failing(), failing("digits/b@ort")], "2 failed, 1 passed", "red"),
        ([failing(), crashed()], "1 in error, 0 passed", "red"),
        ([passing(), doubtful()], "1 inconclusive, 1 passed", "yellow"),
        ([skipped()], "nothing judged, 1 skipped", "lightgrey"),
        ([], "nothing judged", "lightgrey"),
    ],
)
def test_a_badge_shows_the_worst(pairs: list[Pair], message: str, color: str) -> None:
    assert json.loads(badge.render(split(*pairs)[0])) == {
        "schemaVersion": 1, "label": "quantization gate", "message": message, "color": color,
    }  # fmt: skip


def test_a_summary_is_added_to_what_is_there_worst_first(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("# Earlier\n")
    summary.append(file, *split(passing(), failing()))
    text = file.read_text()
    assert text.startswith("# Earlier\n\n## Gate: ❌ FAIL")
    assert text.index("digits/a&#64;ort") < text.index("digits/p&#64;ort")


def test_a_summary_is_cut_at_whole_rows_to_what_is_left_of_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("x" * 5000)
    pairs = [passing(f"digits/q{i}@ort") for i in range(200)] + [failing()]
    summary.append(file, *split(*pairs), max_bytes=15_000)
    assert file.stat().st_size <= 15_000
    text = file.read_text()[5001:]
    rows = [line for line in text.splitlines() if line.startswith("| ✅")]
    assert all(line.endswith(" |") for line in rows)
    assert 0 < len(rows) < 200
    assert f"{200 - len(rows)} rows" in text
    assert "digits/a&#64;ort" in text
    with pytest.raises(OSError, match="no room"):
        summary.append(file, *split(passing()), max_bytes=file.stat().st_size + 100)


# --- the command line ----------------------------------------------------------------------------------


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from dataclasses import replace

    from gate.run.store import RunStore

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.gate]\n")
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    one = replace(case("digits/a@ort"), baseline_policy="require")
    store = RunStore(tmp_path / "run", [one])
    store.save(CaseResult(case=one, observation=observation(one.id)))
    store.close()
    return tmp_path / "run"


def test_in_github_actions_findings_are_marked_and_summed_up_without_being_asked(
    stored: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert main(["judge", str(stored)]) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("::stop-commands::")
    assert "::error file=specs/digits.yaml" in captured.err
    assert "## Gate: ❌ FAIL" in (tmp_path / "summary.md").read_text()
    assert main(["judge", str(stored), "--no-annotations", "--no-summary"]) == 1
    captured = capsys.readouterr()
    assert "::" not in captured.err + captured.out
    assert (tmp_path / "summary.md").read_text().count("## Gate") == 1


def test_json_on_standard_output_stays_json(
    stored: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    main(["judge", str(stored), "--json"])
    captured = capsys.readouterr()
    assert json.loads(captured.out)["counts"]["FAIL"] == 1
    assert "::error" in captured.err


def test_every_report_is_a_file_when_asked_for(stored: Path, tmp_path: Path) -> None:
    names = {
        "--json-file": "r.json",
        "--sarif": "r.sarif",
        "--badge": "b.json",
        "--summary": "s.md",
    }
    words = [
        word for option, name in names.items() for word in (option, str(tmp_path / "out" / name))
    ]
    (tmp_path / "out").mkdir()
    assert main(["judge", str(stored), *words]) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(names.values())


def test_a_summary_that_was_asked_for_and_cannot_be_written_is_an_error(
    stored: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = str(tmp_path / "none" / "s.md")
    assert main(["judge", str(stored), "--summary", nowhere]) == 3
    assert "cannot write the job summary" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", nowhere)
    assert main(["judge", str(stored)]) == 1


def test_an_implicit_rule_is_marked_at_the_spec(stored: Path) -> None:
    bad = implicit("nothing_quantized", Status.FAIL, Tier.LAYERS, "the file is the reference")
    verdict = Verdict(case_id="digits/a@ort", checks=(bad,))
    result = CaseResult(case=case("digits/a@ort"), observation=observation("digits/a@ort"))
    (found,) = findings([verdict], [result])
    assert (found.rule, found.file, found.line) == (
        "layers.nothing_quantized",
        "specs/digits.yaml",
        1,
    )
