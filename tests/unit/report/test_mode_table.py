"""The table of modes: the reference's row, each mode's own numbers, and what nobody observed."""

from __future__ import annotations

from dataclasses import replace

from gate.core.choice import Choice, Tried
from gate.core.result import CaseResult
from gate.core.spec import StandIn
from gate.core.status import Tier
from gate.core.task import CustomScores
from gate.core.verdict import Verdict
from gate.judge.measure import measure
from gate.report import mode_table
from gate.report.format import quantity
from tests.unit.judge import builders
from tests.unit.report import records

IDS = ("digits/static@ort", "digits/dynamic@ort", "digits/static@board")


def result(case_id: str, *, reference_memory: int | None = None, top1: str = "1110") -> CaseResult:
    seen = records.observation(case_id)
    assert seen.resources is not None
    assert seen.task is not None
    return CaseResult(
        case=records.case(case_id),
        observation=replace(
            seen,
            task=replace(seen.task, candidate_top1=top1),
            resources=replace(seen.resources, reference_peak_memory_bytes=reference_memory),
        ),
    )


def rows(text: str) -> list[list[str]]:
    """Cells of the Markdown rows, headers first."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("|--")
    ]


def test_each_target_starts_with_the_float_model_and_has_a_row_for_each_mode() -> None:
    found = rows(mode_table.markdown([], [result(name) for name in IDS]))
    assert found[0] == [
        "mode", "top1", "drop", "latency", "speed-up", "size", "ratio", "memory", "result",
    ]  # fmt: skip
    assert [row[0] for row in found[1:]] == [
        "float32 &#64; ort",
        "static &#64; ort",
        "dynamic &#64; ort",
        "float32 &#64; board",
        "static &#64; board",
    ]
    assert found[1][1:] == ["100 %", "-", "4 ms", "-", "4 kB", "-", "-", "reference"]
    assert found[2][1:8] == ["75 %", "25 pp", "2 ms", "2 x", "1 kB", "4 x", "100 MB"]


def test_memory_of_the_float_model_is_shown_where_it_was_measured() -> None:
    results = [result(IDS[0], reference_memory=3 * 10**8), result(IDS[1], reference_memory=10**8)]
    assert rows(mode_table.markdown([], results))[1][7] == "200 MB"


def test_results_and_what_did_not_run_are_told() -> None:
    failed = CaseResult(case=records.case(IDS[1]), skipped="the package x is not installed")
    results = [result(IDS[0]), failed]
    verdicts = [
        Verdict(case_id=IDS[0], checks=(records.check("top1_drop"),)),
        Verdict(case_id=IDS[1], checks=(), skipped="the package x is not installed"),
    ]
    found = rows(mode_table.markdown(verdicts, results))
    assert [row[-1] for row in found] == ["result", "reference", "PASS", "SKIPPED"]
    assert set(found[3][1:-1]) == {"-"}


def test_a_spec_where_nothing_ran_has_no_float_row() -> None:
    skipped = CaseResult(case=records.case(IDS[0]), skipped="because")
    found = rows(mode_table.markdown([], [skipped]))
    assert [row[0] for row in found[1:]] == ["static &#64; ort"]
    assert found[0][1] == "accuracy"


def test_a_table_says_which_model_ran() -> None:
    told = {}
    for ran in (True, False):
        one = result(IDS[0])
        chosen = replace(one.case, stand_in=StandIn(ran=ran, because="no network", absent="x"))
        told[ran] = mode_table.render([], [replace(one, case=chosen)]).splitlines()[0]
    assert told[True] == "digits: digits, image-classification, the declared stand-in"
    assert told[False] == "digits: digits, image-classification, the model that is named"


def test_specs_have_tables_of_their_own_in_order() -> None:
    results = [result("b/static@ort"), result("a/static@ort"), result("b/dynamic@ort")]
    assert [table.spec for table in mode_table.tables([], results)] == ["b", "a"]
    text = mode_table.render([], results)
    assert text.index("b: b,") < text.index("dynamic @ ort") < text.index("a: a,")


def test_what_a_spec_bounds_beside_the_usual_has_a_column_of_its_own() -> None:
    def bounding(case_id: str, *metrics: tuple[Tier, str]) -> CaseResult:
        one = result(case_id)
        tolerances = tuple(
            replace(one.case.tolerances[0], tier=tier, metric=metric) for tier, metric in metrics
        )
        assert one.observation is not None
        seen = replace(one.observation, layers=builders.observation().layers)
        return replace(one, case=replace(one.case, tolerances=tolerances), observation=seen)

    throughput, bits = (Tier.DEVICE, "throughput"), (Tier.LAYERS, "weight_bits")
    results = [bounding(IDS[0], throughput), bounding(IDS[1], bits), bounding(IDS[2])]
    found = rows(mode_table.markdown([], results))
    assert found[0][8:] == ["throughput", "bits a weight", "result"]
    seen = measure(results[0].observation)
    (candidate,) = seen.of(*throughput)
    assert found[1][8] == quantity(seen.reference[throughput], "fps")
    assert found[2][8] == found[3][8] == quantity(candidate.value, "fps")
    (width,) = seen.of(*bits)
    assert [row[9] for row in found[1:4]] == ["-", *2 * [quantity(width.value, "")]]
    # Nobody measured it: no column of dashes.
    alone = rows(mode_table.markdown([], [bounding(IDS[0], (Tier.DEVICE, "activation_memory"))]))
    assert alone[0][8:] == ["result"]


def test_a_metric_of_the_specs_own_is_shown() -> None:
    one = result(IDS[0])
    assert one.observation is not None
    own = CustomScores(
        name="edge_error",
        unit="%",
        direction="lower",
        aggregate="mean",
        reference=(1.0,) * 4,
        candidate=(2.0,) * 4,
    )
    bound = replace(one.case.tolerances[0], tier=Tier.DEVICE, metric="custom.edge_error")
    difference = replace(bound, metric="custom.edge_error_drop")
    one = replace(
        one,
        case=replace(one.case, tolerances=(bound, difference)),
        observation=replace(one.observation, custom=(own,)),
    )
    found = rows(mode_table.markdown([], [one]))
    assert found[0][8:] == ["edge_error", "result"]
    assert [row[8] for row in found[1:]] == ["1 %", "2 %"]


def test_a_choice_says_what_it_came_to() -> None:
    tried = Tried(name="torch-dynamic", holds=True)
    choice = Choice(
        how="ladder", method="torch-dynamic", options={}, chosen=0, tried=(tried,),
        on="evaluation", samples=4, met=True,
    )  # fmt: skip
    for chosen, mode in (
        (choice, "static (torch-dynamic)"),
        (
            replace(choice, how="search", tried=(replace(tried, kept=("a", "b")),)),
            "static (2 in float)",
        ),
        (replace(choice, how="search"), "static (none in float)"),
    ):
        one = result(IDS[0])
        assert one.observation is not None
        one = replace(one, observation=replace(one.observation, choice=chosen))
        assert rows(mode_table.markdown([], [one]))[2][0] == f"{mode} &#64; ort"
