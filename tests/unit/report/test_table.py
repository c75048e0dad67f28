import io
import re
from dataclasses import replace

import pytest

from gate.core.baseline import BaselineMissing
from gate.core.case import NotApplicable
from gate.judge.results import verdict_of
from gate.report import table
from gate.report.checks import check_table
from gate.report.style import Style, style_of
from tests.unit.report.records import ALL, FAILED, PASSED, RESULTS, case, result_of

NOT_APPLICABLE = (NotApplicable(id="digits/ptq@torch-x86", reason="onnx does not run on torch"),)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def render(**options):
    return table.render(ALL, RESULTS, not_applicable=NOT_APPLICABLE, **options)


def row(text, pair):
    return next(
        " ".join(line.split()) for line in text.splitlines() if line.strip().startswith(pair)
    )


def test_every_case_has_one_row_with_tiers_and_key_figures():
    text = render(style=Style(width=200))
    assert row(text, "ptq-int8@ort-cpu") == (
        "ptq-int8@ort-cpu PASS pass pass pass 25 pp 20 dB 2 x 4 x 1 %"
    )
    failed = row(text, "ptq-per-tensor@ort-cpu")
    assert failed.startswith("ptq-per-tensor@ort-cpu FAIL pass fail fail ")
    assert row(text, "dynamic@torch-x86") == "dynamic@torch-x86 ERROR error error error - - - - -"
    for result in RESULTS:
        assert len(re.findall(rf"^  {re.escape(result.case.id.split('/')[1])} ", text, re.M)) >= 1


def test_counts_skips_and_pairs_that_do_not_apply_are_said():
    text = render()
    assert (
        "7 cases: 1 in error, 2 failed, 1 inconclusive, 1 skipped, 1 failed as expected, 1 passed; "
        "1 pair not applicable"
    ) in text
    assert "skipped: GATE_DATA is not set; see README (lite0/ptq@ort-cpu)" in text
    assert "not applicable: onnx does not run on torch (digits/ptq@torch-x86)" in text


def test_failures_are_explained_and_passes_are_not():
    text = render()
    assert "first: layers: sqnr of features.3.conv = 9.87 dB, demanded >= 15 dB" in text
    assert "first bad layer: features.3.conv" in text
    assert "    | bad | kernel? <&> ```" in text
    assert "PASS digits/ptq-int8@ort-cpu" not in text


def test_verbose_shows_every_check():
    text = render(verbose=True)
    assert re.search(r"PASS +layers +quantized_ops +case +100 % +>= 95 %", text)
    assert re.search(r"PASS +numerical +finite +output +true +true", text)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_the_table_fits_the_terminal(width):
    lines = render(style=Style(width=width)).splitlines()
    end = next(i for i, line in enumerate(lines) if not line)
    assert max(map(len, lines[:end])) <= width
    names = [line.split()[0] for line in lines[:end] if line.startswith("  ")]
    assert "ptq-per-tensor@ort-cpu" in "".join(names)


def test_eighty_columns_keep_tiers_and_figures():
    text = render(style=Style(width=80))
    assert row(text, "ptq-int8@ort-cpu") == "ptq-int8@ort-cpu PASS P P P 25 pp 20 dB 2 x 4 x"
    assert "N numerical, L layers, D device" in text


def test_names_that_are_wider_than_their_column_are_wrapped_not_cut():
    pair = "a-rather-long-quantization-name@a-rather-long-target"
    verdict = type(PASSED)(case_id=f"digits/{pair}", checks=PASSED.checks)
    text = table.render([verdict], [result_of(verdict)], style=Style(width=50))
    top = text.split("\n\n")[0]
    assert max(map(len, top.splitlines())) <= 50
    names = [line.split()[0] for line in top.splitlines() if line.startswith("  ")]
    assert "".join(names).removeprefix("drop") == pair  # the second line of a header


def test_a_tier_without_demands_shows_a_dash():
    result = type(RESULTS[0])(
        case=case(PASSED.case_id, tiers=PASSED.checks[0].tier and [PASSED.checks[0].tier]),
        observation=RESULTS[0].observation,
    )
    text = table.render([PASSED], [result], style=Style(width=200))
    assert row(text, "ptq-int8").startswith("ptq-int8@ort-cpu PASS pass - - ")


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert style_of(Terminal()).colour
    assert not style_of(io.StringIO()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not style_of(Terminal()).colour
    assert "\x1b[" not in render(style=Style(colour=False))
    assert "\x1b[31;1mFAIL\x1b[0m" in render(style=Style(colour=True))


def test_colours_do_not_shift_columns():
    plain, coloured = (render(style=Style(width=80, colour=on)) for on in (False, True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_the_width_of_a_terminal_is_taken_from_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "72")
    assert style_of(Terminal()).width == 72
    monkeypatch.delenv("COLUMNS")
    assert style_of(io.StringIO()).width == 120


def test_a_check_table_can_be_of_failures_alone():
    text = check_table(FAILED.checks, Style(), failing_only=True)
    assert "finite" not in text
    assert "features.3.conv" in text
    assert text.endswith("1 more check passed")


def test_a_note_is_told_once_with_the_cases_it_is_true_of():
    said = "an input was padded"
    seen = [replace(r, observation=replace(r.observation, notes=(said,))) for r in RESULTS[:2]]
    verdicts = [verdict_of(result, BaselineMissing(path="none")) for result in seen]
    ids = ", ".join(result.case.id for result in seen)
    text = table.render(verdicts, seen, style=Style(width=400))
    assert text.count(said) == 1
    assert f"note: {said} ({ids})" in text


def test_no_case_at_all_is_said():
    assert table.render([], []) == "0 cases: nothing ran\n"
