"""What ``--gate`` collects, and that nothing happens without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.pytest_plugin.conftest import edit

ALL = [
    f"specs/tiny.yaml::{case}@ort-cpu::{tier}"
    for case in ("good", "strict")
    for tier in ("numerical", "layers", "device")
]


def collected(project, *arguments):
    result = project.runpytest_inprocess("--collect-only", "-q", *arguments)
    return result, [line for line in result.outlines if "::" in line and " " not in line]


def test_every_tier_of_every_case_is_an_item(project):
    assert collected(project, "--gate", "specs")[1] == ALL


def test_only_tiers_that_a_case_demands_are_items(project):
    edit(
        project,
        ("  layers: {shapes: equal}\n", ""),
        ('{layers: {sqnr: ">= 150 dB"}}', '{device: {size_ratio: "> 0 x"}}'),
    )
    names = collected(project, "--gate", "specs")[1]
    assert names == [name for name in ALL if not name.endswith("layers")]


def test_an_item_can_be_named_by_its_id(project):
    assert collected(project, "--gate", ALL[4])[1] == [ALL[4]]
    assert collected(project, "--gate", "specs/tiny.yaml::good@ort-cpu")[1] == ALL[:3]


def test_python_tests_are_collected_as_usual(project):
    (project.path / "specs" / "test_more.py").write_text("def test_more(): pass\n")
    names = collected(project, "--gate", "specs")[1]
    assert set(names) == {*ALL, "specs/test_more.py::test_more"}


def test_without_the_option_a_spec_is_not_looked_at(project):
    (project.path / "specs" / "broken.yaml").write_text("{")
    result, names = collected(project, "specs")
    assert names == []
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_fragments_and_hidden_files_are_left_out(project):
    for name in ("_base.yaml", "_shared/base.yaml", ".hidden.yaml", "notes.txt"):
        path = project.path / "specs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not: a spec")
    assert collected(project, "--gate", "specs")[1] == ALL


def test_json_is_a_spec_too(project):
    import json

    import yaml

    text = (project.path / "specs" / "tiny.yaml").read_text()
    (project.path / "specs" / "other.json").write_text(
        json.dumps({**yaml.safe_load(text), "id": "other"})
    )
    names = collected(project, "--gate", "specs")[1]
    assert "specs/other.json::good@ort-cpu::device" in names


def test_a_mistake_in_a_spec_is_a_collection_error_with_its_place(project):
    edit(
        project,
        ('sqnr: ">= 10 dB"', 'sqnrr: ">= 10 dB"'),
        ('top1_drop: "< 50 pp"', 'top1_drop: "< 50 ms"'),
    )
    result, _ = collected(project, "--gate", "specs")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    text = result.stdout.str()
    assert "specs/tiny.yaml:18:" in text
    assert "did you mean 'sqnr'?" in text
    assert "specs/tiny.yaml:20:" in text
    assert "Traceback" not in text


def test_two_files_with_one_id_are_an_error(project):
    edit(project, ("version: 1\n", "version: 1\nid: tiny\n"), name="copy.yaml")
    result, _ = collected(project, "--gate", "specs")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*the id 'tiny' is that of *copy.yaml too*"])


def test_a_selection_keeps_what_matches(project):
    assert collected(project, "--gate", "specs", "--gate-select", "tiny/strict@*")[1] == ALL[3:]
    both = ("--gate-select", "*strict*", "--gate-select", "tiny/good@ort-cpu")
    assert collected(project, "--gate", "specs", *both)[1] == ALL


def test_a_selection_that_matches_nothing_is_a_usage_error(project):
    result, _ = collected(project, "--gate", "specs", "--gate-select", "tiny/god@*")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no case matches 'tiny/god@?'*"])


def test_with_xdist_it_is_told_as_well(project):
    result = project.runpytest_subprocess(
        "--gate", "specs", "--gate-select", "tiny/god@*", "-n", "2", "-p", "no:cacheprovider"
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: --gate-select: no case matches 'tiny/god@?'"])


def test_keywords_select(project):
    assert collected(project, "--gate", "specs", "-k", "strict and layers")[1] == [ALL[4]]


def test_the_plugin_imports_nothing_but_pytest():
    code = (
        "import pytest, sys\n"
        "before = set(sys.modules)\n"
        "import gate.pytest_plugin\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['gate', 'gate.pytest_plugin']"


def test_the_plugin_costs_no_start_up_time_to_speak_of():
    code = (
        "import pytest, time\n"
        "begin = time.process_time()\n"
        "import gate.pytest_plugin as plugin\n"
        "plugin.pytest_addoption(pytest.Parser(_ispytest=True))\n"
        "print(time.process_time() - begin)"
    )
    # Processor time and the best of some: others share the machine. `make bench` takes the wall time.
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) <= 0.020
