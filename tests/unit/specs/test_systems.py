"""The specs of the systems: both of the two models of each, pinned weights, and the data of stand-ins."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from gate.core.spec import Spec
from gate.spec.load import load_specs
from gate.spec.matrix import plan
from specs.data.digits import BACKGROUND, DIGIT, grey, rgb, scenes
from specs.models import reduced  # first: beside a CPU build of torch, torchvision needs its help

ROOT = Path(__file__).parents[3]
WITH_STAND_IN = {
    "deeplabv3_resnet101_dynamic",
    "efficientnet_b0_mixed",
    "mobilenet_v2_qat",
    "mobilenet_v3_large_qat",
    "resnet18_observers",
    "resnet50",
    "resnet50_learned_scales",
}
MOST_BYTES = 2_000_000
SHA256_DIGITS = 64


@pytest.fixture(scope="module")
def both() -> dict[str, Spec]:
    """Every spec of the systems by id, each with its stand-in."""
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)
    yield {spec.id: spec for spec in load_specs(["specs/systems"], both=True)}
    patch.undo()


def test_every_model_that_a_machine_may_lack_has_a_stand_in(both: dict[str, Spec]) -> None:
    assert {name.removesuffix(".stand-in") for name in both if name.endswith(".stand-in")} >= (
        WITH_STAND_IN
    )
    for name, spec in both.items():
        weights = str((spec.model.options.get("weights") or {}).get("path", ""))
        assert name.endswith(".stand-in") or "GATE_WEIGHTS" not in weights or spec.requires.env


@pytest.mark.parametrize("name", sorted(WITH_STAND_IN))
def test_the_named_weights_are_the_file_that_their_name_says(
    both: dict[str, Spec], name: str
) -> None:
    weights = both[name].model.options["weights"]
    assert len(weights["sha256"]) == SHA256_DIGITS
    prefix = Path(weights["path"]).stem.rpartition("-")[2]
    assert weights["sha256"].startswith(prefix)
    assert weights["format"] == "torch"


def test_weights_whose_name_tells_no_digest_are_pinned_as_well(both: dict[str, Spec]) -> None:
    named = [spec for name, spec in both.items() if not name.endswith(".stand-in")]
    files = [spec.model.options.get("weights") or {} for spec in named]
    assert all(len(weights["sha256"]) == SHA256_DIGITS for weights in files if "path" in weights)


def test_stand_ins_are_small_and_pinned(both: dict[str, Spec]) -> None:
    seen = set()
    for spec in both.values():
        weights = spec.model.options.get("weights") or {}
        path = Path(weights.get("path", ""))
        if not path.is_relative_to(ROOT):
            continue
        content = path.read_bytes()
        assert len(content) < MOST_BYTES, path
        assert weights["sha256"] == hashlib.sha256(content).hexdigest(), path
        seen.add(path.name)
    assert len(seen) >= 6
    shipped = sum(file.stat().st_size for file in (ROOT / "specs/weights").iterdir())
    assert shipped < 20_000_000


def test_both_models_of_a_spec_are_put_to_the_same_cases(both: dict[str, Spec]) -> None:
    for name in WITH_STAND_IN:
        cases = [plan([both[f"{name}{end}"]]).cases for end in ("", ".stand-in")]
        pairs = [{case.id.partition("/")[2] for case in found} for found in cases]
        assert pairs[0] == pairs[1]
        assert len(pairs[0]) >= 2


def test_trained_networks_have_the_accuracy_that_specs_rely_on(both: dict[str, Spec]) -> None:
    """One of them, from its file, as a run loads it."""
    from gate import plugins
    from gate.data.samples import open_samples

    spec = both["resnet18_observers.stand-in"]
    module = plugins.load("sources", spec.model.source).load(spec.model, seed=0).module
    evaluation, _ = open_samples(spec.data, spec.model.inputs)
    right = 0
    with torch.no_grad():
        for batch in evaluation.batches(100):
            logits = module(torch.from_numpy(batch.inputs["image"]))
            right += int((logits.argmax(1).numpy() == np.asarray(batch.labels)).sum())
    assert right / len(evaluation) > 0.95


class TestDigits:
    def test_images_are_the_digits_enlarged(self) -> None:
        images, labels = rgb("test")
        small, wanted = grey("test")
        assert images.shape == (797, 3, 32, 32)
        np.testing.assert_array_equal(images[:, 2, 1::4, 2::4], small)
        np.testing.assert_array_equal(labels, wanted)

    def test_scenes_are_the_same_every_time_and_labelled_by_pixel(self) -> None:
        few, masks = scenes("test", 3)
        many, more = scenes("test", 6)
        np.testing.assert_array_equal(few, many[:3])
        np.testing.assert_array_equal(masks, more[:3])
        assert few.shape == (3, 3, 64, 64)
        assert few.max() <= 16
        assert set(np.unique(more)) == {BACKGROUND, DIGIT}
        assert 0.3 < (more == BACKGROUND).mean() < 0.95
        # Ink lies in the squares alone, and what is outside is faint.
        assert few[:, 0][masks == DIGIT].max() == 16
        assert few[:, 0][masks == BACKGROUND].max() <= 4


class TestReduced:
    def test_widths_are_divided_and_blocks_are_those_of_torchvision(self) -> None:
        from torchvision.models import resnet18

        full, small = resnet18(), reduced.resnet18(width=16)
        assert [name for name, _ in full.named_modules()] == [
            name for name, _ in small.named_modules()
        ]
        assert small.layer4[0].conv1.out_channels * 4 == full.layer4[0].conv1.out_channels
        ratio = sum(p.numel() for p in full.layer3.parameters()) / sum(
            p.numel() for p in small.layer3.parameters()
        )
        assert 15 < ratio < 16.5

    def test_at_full_width_it_is_the_network_of_torchvision(self) -> None:
        from torchvision.models import efficientnet_b0, resnet50

        for ours, theirs in (
            (reduced.resnet50(width=64, classes=1000), resnet50()),
            (reduced.efficientnet_b0(width=1.0, classes=1000), efficientnet_b0()),
        ):
            shapes = [
                {name: tuple(value.shape) for name, value in net.state_dict().items()}
                for net in (ours, theirs)
            ]
            assert shapes[0] == shapes[1]


def test_the_page_of_tables_shows_every_spec(both: dict[str, Spec]) -> None:
    page = (ROOT / "docs/reference/systems.md").read_text(encoding="utf-8").replace("\\", "")
    shown = {line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")}
    shown -= {"How long each spec takes"}
    assert shown <= set(both)
    assert {name.removesuffix(".stand-in") for name in shown} == {
        name.removesuffix(".stand-in") for name in both
    }
