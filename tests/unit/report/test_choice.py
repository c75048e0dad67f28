from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import yaml

from gate.core.choice import Choice, Tried
from gate.core.convert import from_plain, to_plain
from gate.report.choice import as_text, entry, explained, fragment, front
from gate.report.choice_picture import plot, svg
from tests.unit.report.records import case

CASE = case("digits/mix@ort-cpu")
KEPT = {"method": "onnxruntime-static", "keep_float": ["/stem/Conv", "a<b&c"]}


def tried(name: str, size: int | None, sqnr: float | None, **more: object) -> Tried:
    figures = {} if sqnr is None else {"sqnr": sqnr, "top1_drop": 0.5}
    holds = bool(more.get("holds", True))
    return Tried(
        name=name,
        holds=holds,
        why="" if holds else str(more.get("why", "too bad")),
        size_bytes=size,
        figures=figures,
        kept=tuple(name.split()),
        seconds=1.0,
    )


def mixture() -> Choice:
    return Choice(
        how="search",
        method="onnxruntime-static",
        options={"keep_float": KEPT["keep_float"]},
        chosen=2,
        tried=(
            tried("uniform", 1000, 10.0),
            tried("a", 1050, 9.0),
            tried("a b", 1080, 22.0),
            tried("a b c", 2000, 30.0),
            tried("all", None, None, holds=False, why="nothing was quantized"),
        ),
        on="calibration",
        samples=64,
        met=True,
        remark="2 of 9 layers in float",
        limit_bytes=1100,
    )


def ladder(*, met: bool = True) -> Choice:
    return Choice(
        how="ladder",
        method="torch-fx-static",
        options={},
        chosen=1,
        tried=(
            tried("dynamic", 900, 30.0, holds=False, why="int8_params: 70 % >= 95 %"),
            tried("static", 500, 20.0, holds=met),
        ),
        on="evaluation",
        samples=797,
        met=met,
    )


def test_a_choice_survives_its_file() -> None:
    assert from_plain(Choice, to_plain(mixture())) == mixture()


def test_the_fragment_is_an_explicit_quantization_with_its_reasons() -> None:
    text = fragment(CASE, mixture())
    assert yaml.safe_load(text) == {"quantizations": {CASE.quantization.name: KEPT}}
    assert "# chosen by search" in text
    assert "# 2 of 9 layers in float" in text


def test_the_reasons_of_a_ladder_name_each_rung() -> None:
    lines = explained(CASE, ladder())
    assert any("dynamic: int8_params: 70 % >= 95 %" in line for line in lines)
    assert any(line == "static: holds" for line in lines)
    assert "does NOT hold" not in lines[0]
    assert "does NOT hold" in explained(CASE, ladder(met=False))[0]


def test_paths_are_relative_to_the_spec_again() -> None:
    choice = Choice(
        how="ladder",
        method="candidate",
        options={"path": "/repo/models/a.onnx", "sha256": "0" * 64},
        chosen=0,
        tried=(tried("candidate", 1, 1.0),),
        on="evaluation",
        samples=1,
        met=True,
    )
    made = entry(replace(CASE, spec_path="/repo/specs/a.yaml"), choice)
    assert made == {"method": "candidate", "path": "../models/a.onnx", "sha256": "0" * 64}


def test_the_front_is_what_nothing_beats() -> None:
    assert front(mixture()) == (0, 2, 3)


def test_the_table_lists_the_front_of_a_search_and_all_rungs_of_a_ladder() -> None:
    told = as_text(CASE, mixture())
    assert "only the front" in told
    (arrow,) = [line for line in told.splitlines() if line.startswith("->")]
    assert "a b" in arrow
    assert "int8_params: 70 %" in as_text(CASE, ladder())


def test_the_picture_is_a_file_of_its_own() -> None:
    root = ET.fromstring(svg(CASE, mixture()))  # noqa: S314 - ours
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    circles = list(root.iter(f"{name}circle"))
    kinds = [circle.get("class") for circle in circles]
    # What could not be made has no place; the chosen one has a ring around it.
    assert sorted(map(str, kinds)) == ["best", "best", "chosen", "tried", "uniform"]
    (ring,) = [c for c in circles if c.get("class") == "chosen"]
    assert (ring.get("cx"), ring.get("cy")) == (circles[2].get("cx"), circles[2].get("cy"))
    ys = [float(str(c.get("cy"))) for c in circles]
    assert ys[3] < ys[2] < ys[0] < ys[1], "more SQNR is further up"


def test_a_page_gets_the_same_drawing_without_a_style_of_its_own() -> None:
    file, page = svg(CASE, mixture()), plot(CASE, mixture())
    assert "<style" not in page
    assert page.count("<circle") == file.count("<circle") == 5
    assert "4 mixtures of digits/mix@ort-cpu; chosen: a b, 1.08 kB, 22 dB" in page


def test_hostile_names_are_text() -> None:
    choice = replace(mixture(), remark="</svg><script>alert(1)</script>")
    ET.fromstring(svg(CASE, choice))  # noqa: S314 - ours
    assert "<script>" not in svg(CASE, choice)
