"""Which environments a spec takes for one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gate.core.environment import NARROWING, WIDENING, Comparability
from tests.unit.judge.builders import ENVIRONMENT as HERE

OTHERS = {
    "cpu_model": replace(HERE, cpu_model="Other CPU"),
    "threads": replace(HERE, threads=4),
    "runtime": replace(HERE, versions={"torch": "2.14.0"}),
    "versions": replace(HERE, versions={**HERE.versions, "numpy": "9"}),
    "isa": replace(HERE, isa=("avx2",)),
    "system": replace(HERE, system="darwin"),
    "machine": replace(HERE, machine="aarch64"),
}


def test_without_a_rule_it_is_the_class_of_the_environment() -> None:
    assert (
        Comparability().class_of(HERE) == HERE.environment_class == "linux-x86_64-avx2-avx512_vnni"
    )
    assert not Comparability()


@pytest.mark.parametrize("name", NARROWING)
def test_narrowing_tells_apart_what_differs_in_it(name: str) -> None:
    rule, other = Comparability(narrow=(name,)), OTHERS[name]
    assert Comparability().class_of(HERE) == Comparability().class_of(other)
    assert rule.class_of(HERE) != rule.class_of(other)
    (difference,) = rule.differences(HERE, other)
    assert "there" in difference
    assert rule.differences(HERE, HERE) == ()


@pytest.mark.parametrize("name", WIDENING)
def test_widening_takes_for_one_what_differs_in_it(name: str) -> None:
    rule, other = Comparability(widen=(name,)), OTHERS[name]
    assert Comparability().class_of(HERE) != Comparability().class_of(other)
    assert Comparability().differences(HERE, other)
    assert rule.class_of(HERE) == rule.class_of(other)
    assert rule.differences(HERE, other) == ()


def test_classes_and_differences_agree_for_every_rule() -> None:
    rules = [
        Comparability(narrow=(n,) if n else (), widen=(w,) if w else ())
        for n in ("", *NARROWING)
        for w in ("", *WIDENING)
    ]
    for rule in rules:
        for other in (HERE, *OTHERS.values()):
            same = rule.class_of(HERE) == rule.class_of(other)
            assert same == (not rule.differences(HERE, other))
    assert len({rule.class_of(HERE) for rule in rules}) == len(rules)
