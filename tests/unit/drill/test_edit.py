"""Proposals as changes of a spec's text: comments, layout and quotes stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gate.core.status import Tier
from gate.core.tolerance import SourcePosition
from gate.drill.edit import apply, unified_diff
from gate.drill.tune import Proposal
from gate.spec.reader import read_bytes
from gate.spec.tolerances import TolerancesReader

SPEC = """\
version: 1   # first
tolerances:  # what is demanded
  numerical:
    sqnr: [">= 28 dB", ">= baseline - 6 dB"]    # a list
    relative_mse: '< 0.2 %'
  layers: {bias: < 2 %, sqnr: {bound: ">= 15 dB", subjects: "head.*"}}
"""


def proposal(tier: Tier, metric: str, old: str, new: str, line: int = 0) -> Proposal:
    where = None
    if line:
        column = SPEC.splitlines()[line - 1].index(old)
        quoted = SPEC.splitlines()[line - 1][column - 1] in "'\""
        where = SourcePosition(file="s.yaml", line=line, column=column if quoted else column + 1)
    return Proposal(
        tier=tier,
        metric=metric,
        where=where,
        old=old,
        new=new,
        caught_before=0,
        caught_after=1,
        faults=1,
        looser=False,
        why="",
    )


def demanded(text: str) -> dict[str, list[str]]:
    tree, diagnostics = read_bytes(text.encode(), "s.yaml")
    assert not diagnostics
    reader = TolerancesReader()
    found: dict[str, list[str]] = {}
    for tolerance in reader.read(tree.entries["tolerances"], ("tolerances",)):  # type: ignore[union-attr]
        found.setdefault(f"{tolerance.tier}.{tolerance.metric}", []).append(tolerance.text)
    assert not reader.diagnostics
    return found


def test_bounds_are_replaced_where_they_stand() -> None:
    edited = apply(
        SPEC,
        "s.yaml",
        [
            proposal(Tier.NUMERICAL, "sqnr", ">= baseline - 6 dB", ">= baseline - 1.5 dB", 4),
            proposal(Tier.NUMERICAL, "relative_mse", "< 0.2 %", "< 0.05 %", 5),
            proposal(Tier.LAYERS, "bias", "< 2 %", "< 1 %", 6),
            proposal(Tier.LAYERS, "sqnr", ">= 15 dB", ">= 25 dB", 6),
        ],
    )

    assert not edited.left_out
    assert edited.text == (
        SPEC.replace("baseline - 6 dB", "baseline - 1.5 dB")
        .replace("< 0.2 %", "< 0.05 %")
        .replace("< 2 %", '"< 1 %"')
        .replace(">= 15 dB", ">= 25 dB")
    )


def test_new_tolerances_find_their_place() -> None:
    edited = apply(
        SPEC,
        "s.yaml",
        [
            proposal(Tier.NUMERICAL, "kl_divergence", "", "<= baseline + 50 %"),
            proposal(Tier.NUMERICAL, "sqnr", "", ">= baseline - 2 dB"),
            proposal(Tier.NUMERICAL, "relative_mse", "", "<= baseline + 30 %"),
            proposal(Tier.LAYERS, "worst_channel_nmse", "", "<= baseline + 60 %"),
        ],
    )

    assert not edited.left_out
    assert demanded(edited.text) == {
        "numerical.kl_divergence": ["<= baseline + 50 %"],
        "numerical.sqnr": [">= baseline - 2 dB", ">= 28 dB", ">= baseline - 6 dB"],
        "numerical.relative_mse": ["< 0.2 %", "<= baseline + 30 %"],
        "layers.worst_channel_nmse": ["<= baseline + 60 %"],
        "layers.bias": ["< 2 %"],
        "layers.sqnr": [">= 15 dB"],
    }
    assert "# a list" in edited.text


def test_what_stands_elsewhere_is_left_out_and_said() -> None:
    shared = proposal(Tier.NUMERICAL, "sqnr", ">= 28 dB", ">= 30 dB", 4)
    elsewhere = Proposal(
        **{
            **{name: getattr(shared, name) for name in Proposal.__dataclass_fields__},
            "where": SourcePosition(file="_shared/base.yaml", line=4, column=12),
        }
    )
    device = proposal(Tier.DEVICE, "top1", "", ">= baseline - 1 pp")
    mapping = proposal(Tier.LAYERS, "sqnr", "", ">= baseline - 1 dB")
    edited = apply(SPEC, "s.yaml", [elsewhere, device, mapping])

    assert edited.text == SPEC
    reasons = [why for _, why in edited.left_out]
    assert "_shared/base.yaml:4:12" in reasons[0]
    assert "no tolerances.device" in reasons[1]
    assert "form that is not edited here" in reasons[2]


def test_metrics_of_the_specs_own_stand_one_mapping_deeper() -> None:
    spec = """\
metrics:
  f1: {entry: "m:f", unit: "%", direction: higher}
  loss: {entry: "m:g", direction: lower}
tolerances:
  device:
    custom:    # ours
      loss: "< 3"
"""
    found = proposal(Tier.DEVICE, "custom.f1", "", ">= baseline - 5 %")
    edited = apply(spec, "s.yaml", [found, proposal(Tier.DEVICE, "custom.loss", "", "< 2")])

    assert not edited.left_out
    assert edited.text.endswith(
        """\
    custom:    # ours
      f1: ">= baseline - 5 %"
      loss: ["< 3", "< 2"]
"""
    )
    nowhere = apply(SPEC, "s.yaml", [found])
    assert nowhere.text == SPEC
    assert "no tolerances.device.custom of its own" in nowhere.left_out[0][1]


def test_the_diff_applies(tmp_path: Path) -> None:
    edited = apply(SPEC, "s.yaml", [proposal(Tier.LAYERS, "bias", "< 2 %", "< 1 %", 6)])
    (tmp_path / "s.yaml").write_text(SPEC)
    diff = unified_diff(Path("s.yaml"), SPEC, edited.text)
    done = subprocess.run(
        ["git", "apply", "--unsafe-paths", "-"], input=diff, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 0
    assert (tmp_path / "s.yaml").read_text() == edited.text
    assert unified_diff(Path("s.yaml"), SPEC, SPEC) == ""
