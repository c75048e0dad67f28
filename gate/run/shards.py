"""A plan divided over machines, the same way on each of them."""

from __future__ import annotations

import hashlib
import heapq
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.core.case import Case, NotApplicable, Plan
from gate.core.convert import to_json
from gate.run.costs import Costs

MOST_SHARDS = 256
"""As many jobs as GitHub makes of one matrix."""

# A JSON string that is an absolute path, and no key; its last part is kept.
_ABSOLUTE = re.compile(rb'"(?:/|[A-Za-z]:\\\\)(?:[^"]*[/\\])?([^"/\\]*)"(?!:)')
_SHARD = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part of ``count``; ``index`` counts from one."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What a shard's run keeps about the whole that it is a part of."""

    index: int
    count: int
    plan_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRecord:
    """Content of a shard's ``plan.json``: the whole, so that what is missing can be named."""

    cases: tuple[Case, ...]
    not_applicable: tuple[NotApplicable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A shard of a plan, ready to run."""

    record: ShardRecord
    whole: Plan
    cases: tuple[Case, ...]
    """Those of this shard, in the order of the plan."""


def parse_shard(text: str) -> Shard:
    """Read ``i/n``.

    Raises:
        ValueError: it is not of that form, or there is no such part.
    """
    match = _SHARD.fullmatch(text)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= MOST_SHARDS:
        raise ValueError(f"expected i/n with 1 <= i <= n <= {MOST_SHARDS}, found '{text}'")
    return Shard(index=index, count=count)


def part_of(plan: Plan, shard: Shard, costs: Costs) -> Part:
    """The cases that ``shard`` runs."""
    kept = set(partition(plan.cases, shard.count, costs)[shard.index - 1])
    return Part(
        record=ShardRecord(index=shard.index, count=shard.count, plan_digest=plan_digest(plan)),
        whole=plan,
        cases=tuple(case for case in plan.cases if case.id in kept),
    )


def partition(cases: Sequence[Case], count: int, costs: Costs) -> list[list[str]]:
    """Case ids of each shard: the dearest case first, each to the shard that has least to do so far.

    At most 4/3 of the best possible longest shard (Graham, 1969). Ties go by name and by number, so
    the result depends on the cases and their costs alone.
    """
    weighed = sorted((-costs.milliseconds(case), case.id) for case in cases)
    shards: list[list[str]] = [[] for _ in range(count)]
    loads = [(0, index) for index in range(count)]
    for negative, name in weighed:
        load, index = loads[0]
        shards[index].append(name)
        heapq.heapreplace(loads, (load - negative, index))
    return shards


def plan_digest(plan: Plan) -> str:
    """Identity of a plan on whichever machine it was made."""
    return written_digest(map(to_json, plan.cases), plan.not_applicable)


def written_digest(cases: Iterable[bytes], not_applicable: Iterable[NotApplicable]) -> str:
    """:func:`plan_digest` of a plan whose cases are written already, as ``to_json`` writes them."""
    whole = hashlib.sha256()
    for case in cases:
        whole.update(fingerprint(case) + b"\n")
    whole.update(to_json(sorted((other.id, other.reason) for other in not_applicable)))
    return whole.hexdigest()


def fingerprint(case: bytes) -> bytes:
    """A written case without where its files lie."""
    # As :func:`portable` does, on the text: a plan may have ten thousand cases.
    return _ABSOLUTE.sub(rb'"\1"', case)


def portable(value: Any) -> Any:
    """Plain values with absolute paths cut down to their names: a run's folder may have moved to
    another machine, and what the files held is compared by digest."""
    if isinstance(value, str):
        return os.path.basename(value) if os.path.isabs(value) else value  # noqa: PTH117, PTH119 - many and cheap
    if isinstance(value, Mapping):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [portable(item) for item in value]
    return value
