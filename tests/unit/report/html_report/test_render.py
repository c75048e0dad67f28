from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gate.core.case import NotApplicable
from gate.report.html_report.render import render
from tests.unit.report.html_report.pages import (
    BAD,
    HOSTILE,
    LAYERS,
    everything,
    hostile,
    layer_name,
    many,
    rich,
)
from tests.unit.report.records import ALL, PASSED, RESULTS, result_of

VOID = {"meta", "link", "img", "input", "br", "hr"}
LOADING = {"link", "iframe", "object", "embed", "audio", "video", "source", "base", "form"}


class Page(HTMLParser):
    """Elements of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {k: v if v is not None else "" for k, v in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {k: v if v is not None else "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self._open), data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def said(self, *, within=""):
        return " ".join(t for path, t in self.texts if (not within or within in path)).split()


@pytest.fixture(scope="module")
def page():
    return Page(render(**everything()))


def test_rows_and_details_are_worst_first(page):
    order = [a["data-outcome"] for a in page.all("tr") if "data-outcome" in a]
    assert order == ["error", "fail", "fail", "inconclusive", "skipped", "xfail", "pass"]
    assert order == [a["data-outcome"] for a in page.all("details") if "data-outcome" in a]


def test_every_row_that_is_no_pass_says_why():
    rows = re.findall(r"<tr data-outcome=\"(\w+)\".*?</tr>", render(**everything()), re.DOTALL)
    said = re.findall(
        r"<tr data-outcome=\"(\w+)\"(?:(?!</tr>).)*?<span class=\"first\">([^<]*)",
        render(**everything()),
        re.DOTALL,
    )
    assert [key for key, _ in said] == [key for key in rows if key != "pass"]
    # One that passes although it is expected to fail has no check to name.
    assert any("expects this case to fail" in text for _, text in said)


def test_what_was_not_measured_is_not_offered_for_acceptance(page):
    (crashed,) = [v.case_id for v in ALL if v.failure is not None]
    code = [text for path, text in page.texts if "code" in path]
    assert any(crashed in text and text.startswith("gate run") for text in code)
    assert not any(crashed in text and "baseline update" in text for text in code)


def test_links_lead_somewhere_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for a in page.all("a")]
    assert targets
    assert all(t.startswith("#") and t[1:] in ids for t in targets)
    for name in ("aria-labelledby", "for"):
        assert {a[name] for _, a in page.elements if name in a} <= set(ids)


def test_headings_leave_no_level_out(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


def test_tables_have_captions_and_scopes_and_pictures_names(page):
    tags = [tag for tag, _ in page.elements]
    assert tags.count("table") == tags.count("caption") > 4
    assert all("scope" in a for a in page.all("th"))
    assert all(a.get("aria-label") and a.get("role") == "img" for a in page.all("svg"))
    assert all(a["alt"] for a in page.all("img"))


def test_it_loads_nothing_and_allows_nothing(page):
    # The filter is a form that is never sent; form-action forbids it besides.
    assert not LOADING - {"form"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        assert attributes.get("src", "data:").startswith("data:image/png;base64,") or (
            "src" not in attributes
        )
    (policy,) = [
        a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy.replace("http-equiv", "")


def test_a_search_shows_its_front_and_what_it_took(page):
    (label,) = [a["aria-label"] for a in page.all("svg") if a.get("class") == "choice"]
    assert label.startswith("accuracy over bytes of 4 mixtures of digits/ptq-per-tensor@ort-cpu")
    assert label.endswith("chosen: 2 in float, 1.08 kB, 22 dB")
    dots = [a["class"] for a in page.all("circle")]
    kinds = sorted(kind for kind in dots if not kind.startswith(("g-", "p-", "l-")))
    assert kinds == ["best", "best", "chosen", "tried", "uniform"]
    said = " ".join(page.said())
    for words in (
        "Search on 64 calibration samples, 6.0 s; 2 of 12 layers in float.",
        "2 in float chosen holds 1.08 kB 22 dB 0.5 pp - 1.5 s",
        "0 in float sqnr 10 dB >= 20 dB 1 kB",
        "Tried and not on the front: 1 more.",
        "Layers left in float: 2 stem head",
    ):
        assert words in said


def test_every_rule_is_drawn_with_its_figures(page):
    labels = [a["aria-label"] for a in page.all("svg") if a.get("class") == "gauge"]
    assert any(label.startswith("measured 9.87 dB, bound < 15 dB") for label in labels)
    # Never "1 pp, bound < 1 pp".
    assert "measured 1.0004 pp, bound < 1 pp, baseline 0.25 pp" in labels
    assert "measured 1.95 x, interval 1.85 x to 2.05 x, bound >= 1.9 x, baseline 2 x" in labels
    assert any(f"{LAYERS - 1} others drawn as ticks" in label for label in labels)


def test_the_layer_profile_names_the_worst_and_the_data_has_every_layer(page):
    (label,) = [a["aria-label"] for a in page.all("svg") if a.get("class") == "profile"]
    assert f"SQNR of {LAYERS} layers" in label
    assert layer_name(BAD) in label
    data = [t for path, t in page.texts if path[-1:] == ("script",) and t.startswith("[")]
    layers = json.loads(data[0])
    assert [layer["name"] for layer in layers] == [layer_name(i) for i in range(LAYERS)]
    assert layers[BAD]["failed"] == "sqnr"
    assert layers[3]["built in"] == "float"
    assert layers[0]["alone"] == "40 dB"
    assert (
        layers[0]["output"]
        == "uint8 2\N{MULTIPLICATION SIGN}8\N{MULTIPLICATION SIGN}16\N{MULTIPLICATION SIGN}16"
    )
    assert layers[0]["weights"].startswith("int8 per-channel-symmetric, 2 channels along axis 0")


def test_accuracy_latency_changes_and_commands_are_there(page):
    said = " ".join(page.said())
    assert "10 lost, 2 gained" in said
    assert "lost sample 171" in said
    against = "Against the baseline 1 sample newly lost (171) and 1 sample no longer lost (5)."
    assert against in said
    assert "60 runs of each side in turns, in 3 fresh processes, batch 1" in said
    assert "somebody, commit cccccccccccc+dirty: first baseline" in said
    assert "1.20.0" in said
    assert "gate run specs/digits.yaml --select digits/ptq-per-tensor@ort-cpu -v" in said
    assert "All 200 samples".lower() in said.lower()


def test_a_baseline_that_could_not_be_compared_with_is_not_drawn():
    given = everything()
    other = [replace(v, baseline_note="not comparable: another machine") for v in given["verdicts"]]
    parsed = Page(render(**{**given, "verdicts": other}))
    labels = [a["aria-label"] for a in parsed.all("svg") if a.get("class") == "gauge"]
    layers = next(label for label in labels if "others drawn as ticks" in label)
    assert "baseline" not in layers
    assert not [a for a in parsed.all("path") if a.get("class") == "p-then"]
    assert "somebody" not in " ".join(parsed.said())


def test_a_crash_shows_what_was_printed_last(page):
    printed = " ".join(page.said(within="pre"))
    assert "bad | kernel" in printed
    assert "\x1b" not in printed


def test_names_and_sentences_are_text_wherever_they_come_from():
    text = render(**hostile())
    parsed = Page(text)
    # The page's own script and the layers' data, and nothing that a name brought along.
    assert text.lower().count("<script") == 1 + text.count('<script type="application/json"')
    assert not [a for a in parsed.all("img") if not a["src"].startswith("data:")]
    assert not [name for _, a in parsed.elements for name in a if name.startswith("on")]
    data = [t for path, t in parsed.texts if path[-1:] == ("script",) and t.startswith("[")]
    assert json.loads(data[0])[0]["name"].startswith(HOSTILE)


def test_the_same_verdicts_give_the_same_bytes():
    assert render(**everything()) == render(**everything())


def test_the_headline_is_that_of_the_gate():
    for verdicts, word in (
        ([PASSED], "Gate: PASS"),
        (
            [v for v in ALL if v.expected_failure and "top1" in str(v.expected_metrics)][:1],
            "Gate: PASS",
        ),
        (ALL, "Gate: ERROR"),
        ([], "Gate: nothing ran"),
    ):
        text = render(verdicts, [result_of(v) for v in verdicts])
        assert f"<title>{word}" in text


def test_what_is_not_applicable_is_listed():
    pairs = [NotApplicable(id="a/b@c", reason="torch opens no <onnx>")]
    parsed = Page(render(ALL, RESULTS, not_applicable=pairs))
    assert "a/b@c: torch opens no <onnx>" in " ".join(parsed.said()).replace(" :", ":")


def test_a_verdict_without_a_result_is_shown():
    assert "digits/ptq-int8@ort-cpu" in render([PASSED], [])


def test_values_that_are_no_numbers_break_nothing():
    verdict, result = rich()
    checks = tuple(
        replace(c, bound=float("inf"), baseline=float("nan")) if c.tolerance is not None else c
        for c in verdict.checks
    )
    text = render([replace(verdict, checks=checks)], [result])
    drawn = re.findall(r'\s(?:x|y|x1|x2|y1|y2|cx|cy|d|width|height)="([^"]*)"', text)
    assert drawn
    assert not [value for value in drawn if "nan" in value or "inf" in value]


@pytest.mark.parametrize("limit", [150_000, 400_000])
def test_a_small_limit_is_kept_and_told(limit):
    given = many(60)
    text = render(**given, max_bytes=limit)
    assert len(text.encode()) <= limit
    parsed = Page(text)
    assert "this page leaves things out" in text
    rows = [a for a in parsed.all("tr") if "data-outcome" in a]
    details = [a for a in parsed.all("details") if "data-outcome" in a]
    assert len(rows) == 63
    assert 0 < len(details) < 63
    told = re.search(r"(\d+) cases shown by a row alone", text)
    assert int(told[1]) == 63 - len(details)
    # The failing one keeps its layers although most passing ones keep nothing.
    assert details[0]["data-outcome"] == "fail"
    assert 'class="profile"' in text


def test_rows_too_are_cut_when_there_is_no_room_and_the_worst_stay():
    text = render(**many(400), max_bytes=150_000)
    assert len(text.encode()) <= 150_000
    parsed = Page(text)
    rows = [a["data-outcome"] for a in parsed.all("tr") if "data-outcome" in a]
    told = re.search(r"(\d+) cases are not listed at all", text)
    assert int(told[1]) == 403 - len(rows) > 0
    assert rows[:2] == ["fail", "pass"]  # of 403 cases, the seventh alone fails


def test_a_thousand_cases_stay_below_three_megabytes():
    text = render(**many(1000))
    assert len(text.encode()) <= 3_000_000
    parsed = Page(text)
    assert len([a for a in parsed.all("tr") if "data-outcome" in a]) == 1003
    assert "leaves things out" in text


def test_pictures_go_before_layers():
    given = everything()
    whole = render(**given)
    without = render(**{**given, "flips": {}})
    assert "data:image/png" in whole
    limit = len(whole.encode()) + 900  # the frame's reserve for notices is a thousand
    assert "data:image/png" in render(**given, max_bytes=limit + 200)
    cut = render(**given, max_bytes=(len(whole.encode()) + len(without.encode())) // 2 + 700)
    assert 'class="profile"' in cut
