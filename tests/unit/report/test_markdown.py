import re
from dataclasses import replace

from gate.core.case import NotApplicable
from gate.report import markdown
from tests.unit.report.records import ALL, FAILED, PASSED, RESULTS, result_of


def page(**options):
    return markdown.render(ALL, RESULTS, **options)


def test_the_worst_comes_first():
    rows = [line for line in page().splitlines() if line.startswith("| ")][1:]
    words = [re.search(r"[A-Z]{4,}", row)[0] for row in rows]
    assert words == ["ERROR", "FAIL", "FAIL", "INCONCLUSIVE", "SKIPPED", "XFAIL", "PASS"]


def test_only_what_is_no_plain_pass_has_details():
    text = page()
    assert "<summary>FAIL digits/ptq-per-tensor@ort-cpu</summary>" in text
    assert "<summary>PASS" not in text
    assert text.count("<details>") == text.count("</details>") == 6


def test_cells_cannot_break_the_table_or_mention_people():
    evil = replace(FAILED, case_id="digits/a|b`c<script>@someone")
    text = markdown.render([evil], [result_of(evil)])
    (row,) = [line for line in text.splitlines() if line.startswith("| ❌")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 11
    assert "\\<script\\>" in row
    assert "@someone" not in row


def test_worker_output_cannot_leave_its_code_block():
    text = page()
    fences = re.findall(r"^`{3,}", text, re.M)
    assert "````" in fences


def test_it_fits_and_says_what_was_cut():
    count = 400
    verdicts = [replace(FAILED, case_id=f"digits/q{i}@cpu") for i in range(count)]
    verdicts.append(PASSED)
    results = [result_of(verdict) for verdict in verdicts]
    whole = markdown.render(verdicts, results)
    assert "Cut to fit" not in whole
    for limit in (100_000, 20_000, 2_000):
        text = markdown.render(verdicts, results, max_bytes=limit)
        assert len(text.encode()) <= limit
        shown = text.count("<details>")
        rows = len(re.findall(r"^\| [✅❌]", text, re.M))
        (notice,) = re.findall(r"Cut to fit:.*", text)
        assert f"{count - shown} details" in notice
        assert rows == count + 1 or f"{count + 1 - rows} rows" in notice


def test_pairs_that_do_not_apply_are_told():
    text = page(not_applicable=[NotApplicable(id="a/b@c", reason="formats cannot meet")])
    assert "formats cannot meet" in text


def test_nothing_at_all_is_no_pass():
    assert "nothing ran" in markdown.render([], [])
