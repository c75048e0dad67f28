import json
import math
from dataclasses import replace

from gate.core.case import NotApplicable
from gate.report import json_report
from tests.unit.report.records import ALL, PASSED, RESULTS, check, result_of


def loaded(verdicts=ALL, results=RESULTS, **options):
    def refuse(word):
        raise AssertionError(word)

    return json.loads(json_report.render(verdicts, results, **options), parse_constant=refuse)


def test_it_holds_every_check_at_full_precision():
    value = 0.1 + 0.2
    verdict = replace(PASSED, checks=(check("top1_drop", value=value),))
    report = loaded([verdict], [result_of(verdict)])
    (found,) = report["cases"][0]["checks"]
    assert found["value"] == value
    assert found["where"] == "specs/digits.yaml:14:9"
    assert (found["op"], found["tolerance"], found["bound"]) == ("<", "< 1 pp", 1.0)


def test_it_says_schema_counts_and_exit_code():
    report = loaded(not_applicable=[NotApplicable(id="a/b@c", reason="why")])
    assert report["schema"] == 1
    assert report["exit_code"] == 3
    assert report["counts"] == {
        "PASS": 1,
        "XFAIL": 1,
        "FAIL": 2,
        "INCONCLUSIVE": 1,
        "ERROR": 1,
        "SKIPPED": 1,
        "NOT_COMPARABLE": 0,
    }
    assert report["not_applicable"] == [{"id": "a/b@c", "reason": "why"}]
    assert loaded(exit_code=130)["exit_code"] == 130


def test_each_case_says_what_failed_first_and_what_ran():
    by_id = {entry["id"]: entry for entry in loaded()["cases"]}
    failed = by_id["digits/ptq-per-tensor@ort-cpu"]
    assert failed["first"]["subject"] == failed["first_bad_layer"] == "features.3.conv"
    assert failed["tiers"] == {"numerical": "PASS", "layers": "FAIL", "device": "FAIL"}
    assert failed["run"]["environment_class"] == "linux-x86_64-avx2"
    assert failed["figures"]["size_ratio"] == 4.0
    crashed = by_id["digits/dynamic@torch-x86"]
    assert crashed["run"] is None
    assert crashed["failure"]["stage"] == "open"
    assert by_id["lite0/ptq@ort-cpu"]["skipped"].startswith("GATE_DATA")
    assert by_id["lite0/ptq-per-tensor@ort-cpu"]["outcome"] == "XFAIL"


def test_numbers_that_json_has_no_word_for_are_strings():
    verdict = replace(PASSED, checks=(check("top1_drop", value=math.inf),))
    report = loaded([verdict], [result_of(verdict)])
    assert report["cases"][0]["checks"][0]["value"] == "inf"
