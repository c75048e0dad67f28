"""A choice for people: the fragment of a spec that it comes to, and what was tried."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

from gate.core.canonical import JsonValue
from gate.core.case import Case
from gate.core.choice import Choice, Tried
from gate.report.format import quantity, seconds
from gate.report.text import one_line
from gate.spec import schema

_COMMENT = 96


def entry(case: Case, choice: Choice) -> dict[str, JsonValue]:
    """What stands beside the quantization's name in a spec: the explicit recipe, its paths relative
    to the spec again."""
    properties = schema.option_definition("quantizers", choice.method)["properties"]
    folder = os.path.dirname(case.spec_path) or "."  # noqa: PTH120 - names, not files

    def written(key: str, value: JsonValue) -> JsonValue:
        if properties.get(key, {}).get("format") != "path" or "${" in str(value):
            return value
        return Path(os.path.relpath(str(value), folder)).as_posix()

    options = {key: written(key, value) for key, value in choice.options.items()}
    return {"method": choice.method, **options}


def explained(case: Case, choice: Choice) -> list[str]:
    """Why it is this recipe, in lines for a comment."""
    lines = [
        f"chosen by {choice.how} for {case.id} on {choice.samples} {choice.on} samples"
        + ("" if choice.met else "; it does NOT hold what was demanded")
    ]
    if choice.how == "search":
        lines.append(choice.remark)
    else:
        lines += [f"{one.name}: {'holds' if one.holds else one.why}" for one in choice.tried]
    wrapped = [textwrap.wrap(one_line(line), _COMMENT, subsequent_indent="  ") for line in lines]
    return [part for parts in wrapped for part in parts]


def fragment(case: Case, choice: Choice) -> str:
    """YAML: the quantization by its own name, made explicit, with the reasons above it."""
    import yaml

    document = {"quantizations": {case.quantization.name: entry(case, choice)}}
    comment = "".join(f"# {line}\n" for line in explained(case, choice))
    return comment + str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def as_text(case: Case, choice: Choice) -> str:
    """Everything that was tried, as a table."""
    from tabulate import tabulate

    rows = [
        (
            "->" if index == choice.chosen else "",
            one.name,
            "holds" if one.holds else one_line(one.why),
            quantity(one.size_bytes, "B"),
            quantity(one.figures.get("sqnr"), "dB"),
            quantity(one.figures.get("top1_drop"), "pp"),
            quantity(one.figures.get("speedup"), "x"),
            seconds(one.seconds),
        )
        for index, one in shown(choice)
    ]
    headers = ("", "tried", "verdict", "size", "sqnr", "top1_drop", "speedup", "took")
    table = tabulate(rows, headers, maxcolwidths=[None, 28, 60, *[None] * 5], disable_numparse=True)
    head = f"{case.id}: {choice.how} on {choice.samples} {choice.on} samples, {seconds(choice.seconds)}"
    left = "\n(only the front is listed)" if len(rows) < len(choice.tried) else ""
    return f"{head}\n{table}{left}\n"


def shown(choice: Choice) -> Iterator[tuple[int, Tried]]:
    """All rungs of a ladder; of a search the front, the uniform one and the chosen one."""
    wanted = set(range(len(choice.tried)))
    if choice.how == "search":
        wanted = {0, choice.chosen, *front(choice)}
    order = sorted(
        wanted, key=lambda i: (choice.how == "search" and (choice.tried[i].size_bytes or 0), i)
    )
    return ((index, choice.tried[index]) for index in order)


def measured(choice: Choice) -> dict[int, tuple[float, float]]:
    """Index -> bytes and SQNR of everything that has both."""
    return {i: p for i, one in enumerate(choice.tried) if (p := point(one)) is not None}


def front(choice: Choice) -> tuple[int, ...]:
    """Indices of what nothing else beats in both bytes and SQNR, by bytes."""
    points = measured(choice)
    kept: list[int] = []
    for index in sorted(points, key=lambda i: (points[i][0], -points[i][1])):
        if not kept or points[index][1] > points[kept[-1]][1]:
            kept.append(index)
    return tuple(kept)


def point(one: Tried) -> tuple[float, float] | None:
    """Bytes and SQNR in dB; None where either is unknown."""
    sqnr = one.figures.get("sqnr")
    return None if one.size_bytes is None or sqnr is None else (float(one.size_bytes), sqnr)
