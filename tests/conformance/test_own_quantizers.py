"""What comes from elsewhere passes the quantizer kit too: the user's own quantization, and files made before."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from gate import plugins
from gate.core.artifact import Format
from gate.spec.choosing import NESTED
from gate.testing.quantizer_kit import QuantizerKit
from gate.testing.tiny import target_for, tiny_batches, tiny_model
from tests.unit.own_module import own_module

pytest.importorskip("torch")

ENTRY = """
import torch
from torch.ao.quantization import quantize_dynamic

def linear(model, calibration, options, target):
    return quantize_dynamic(model, {torch.nn.Linear})
"""


class TestPython(QuantizerKit):
    quantizer = "python"
    backend = "torch"
    options: ClassVar[dict[str, Any]] = {"entry": "own_conforming:linear"}

    @pytest.fixture(autouse=True)
    def _project(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Above every folder that a test goes to."""
        own_module(tmp_path, "own_conforming", ENTRY, monkeypatch)


class TestCandidate(QuantizerKit):
    quantizer = "candidate"
    backend = "onnxruntime"
    made_before = True

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("given")
        made = plugins.load("quantizers", "onnxruntime-static").quantize(
            tiny_model(Format.ONNX, folder),
            lambda: iter(tiny_batches()),
            options={},
            target=target_for("onnxruntime"),
            seed=0,
            out_dir=folder,
        )
        self.options = {"path": str(made.path), "sha256": made.sha256}  # type: ignore[misc]


def test_every_quantizer_has_a_class_here() -> None:
    """In some module of this folder; those that choose among others have a kit of their own."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"{__package__}.{path.stem}")
    tested = {kit.quantizer for kit in _below(QuantizerKit)}
    assert tested == set(plugins.BUILTIN["quantizers"]) - set(NESTED)


def _below(kind: type[QuantizerKit]) -> Iterator[type[QuantizerKit]]:
    for one in kind.__subclasses__():
        if hasattr(one, "quantizer"):
            yield one
        yield from _below(one)
