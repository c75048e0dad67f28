import re
from xml.etree import ElementTree as ET

import pytest

from gate.report import junit
from tests.unit.report.records import ALL, PASSED, RESULTS, result_of

# What the common schema of CI servers allows: element -> (required, allowed attributes, children).
SHAPE = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"name", "tests", "failures", "errors", "skipped", "time"},
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, {"name", "value"}, set()),
    "testcase": (
        {"name"},
        {"name", "classname", "time"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
    "skipped": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def parsed(text):
    return ET.fromstring(text.encode())  # noqa: S314 - our own document


@pytest.fixture(scope="module")
def root():
    return parsed(junit.render(ALL, RESULTS))


def case(root, name):
    return next(element for element in root.iter("testcase") if element.get("name") == name)


def test_it_has_the_shape_of_the_common_schema(root):
    for element in root.iter():
        required, allowed, children = SHAPE[element.tag]
        assert required <= set(element.attrib) <= allowed, element.tag
        assert {child.tag for child in element} <= children, element.tag
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])


def test_a_suite_is_a_spec_and_a_case_is_a_tier(root):
    assert [suite.get("name") for suite in root] == ["specs/digits.yaml", "specs/lite0.yaml"]
    names = [element.get("name") for element in root[0].iter("testcase")]
    assert names[:3] == [f"ptq-int8@ort-cpu::{tier}" for tier in ("numerical", "layers", "device")]
    assert len(names) == 9


def test_counts_are_those_of_the_elements(root):
    for suite in root:
        for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count)) == len(suite.findall(f"testcase/{tag}"))
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("21", "4", "3")


def test_a_failure_carries_its_first_check_and_the_table(root):
    failure = case(root, "ptq-per-tensor@ort-cpu::layers").find("failure")
    assert failure.get("message").startswith("layers: sqnr of features.3.conv = 9.87 dB")
    assert "first bad layer: features.3.conv" in failure.text
    assert case(root, "ptq-per-tensor@ort-cpu::numerical").find("failure") is None


def test_errors_skips_and_expected_failures_have_their_own_elements(root):
    error = case(root, "dynamic@torch-x86::device").find("error")
    assert "SIGSEGV" in error.get("message")
    assert "kernel" in error.text
    skipped = case(root, "ptq@ort-cpu::numerical").find("skipped")
    assert skipped.get("message") == "GATE_DATA is not set; see README"
    assert len(case(root, "noisy@ort-cpu::device").findall("failure")) == 1
    (lite0,) = [s for s in root if s.get("name") == "specs/lite0.yaml"]
    xfailed = case(lite0, "ptq-per-tensor@ort-cpu::device")
    assert xfailed.find("failure") is None
    assert "expected failure" in xfailed.find("system-out").text


def test_measurements_are_properties_at_full_precision(root):
    values = {p.get("name"): p.get("value") for p in root[0].iter("property")}
    assert values["ptq-per-tensor@ort-cpu::device::top1_drop[case]"] == "1.0004 pp"


def test_any_worker_output_gives_well_formed_xml():
    from dataclasses import replace

    from gate.core.observation import RunFailure

    hostile = "".join(map(chr, range(256))) + "\ud800\ufffe]]>"
    verdict = replace(
        PASSED,
        checks=(),
        failure=RunFailure(kind="crash", stage="open", message=hostile, last_output=hostile),
    )
    text = junit.render([verdict], [result_of(verdict)])
    assert parsed(text).get("errors") == "3"


def test_with_require_a_skipped_case_is_a_failed_one():
    skipped = next(v for v in ALL if v.skipped)
    (suite,) = parsed(junit.render([skipped], [result_of(skipped)], require=True))
    assert suite.get("failures") == suite.get("tests")
    assert suite.get("skipped") == "0"
    assert {told.get("message") for told in suite.iter("failure")} == {skipped.skipped}
