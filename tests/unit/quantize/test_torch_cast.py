"""Models in 16 bits: half the size, rounded as torch rounds, refused where nothing was cast."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gate import plugins
from gate.core.artifact import Artifact, Format
from gate.models.base import LoadedModel
from gate.quantize.base import QuantizeError
from gate.testing.tiny import INPUT, target_for, tiny_batches, tiny_model

torch = pytest.importorskip("torch")

TARGET = target_for("torch")


@pytest.fixture
def model(tmp_path: Path) -> LoadedModel:
    return tiny_model(Format.TORCH_MODULE, tmp_path)


def cast(model: LoadedModel, tmp_path: Path, **options: Any) -> Artifact:
    out_dir = tmp_path / "out"
    out_dir.mkdir()
    made = plugins.load("quantizers", "torch-cast").quantize(
        model, None, options=options, target=TARGET, seed=0, out_dir=out_dir
    )
    assert isinstance(made, Artifact)
    return made


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_it_computes_what_torch_computes_in_that_type(
    model: LoadedModel, tmp_path: Path, dtype: str
) -> None:
    artifact = cast(model, tmp_path, dtype=dtype)
    inputs = tiny_batches(1, 8, seed=3)[0]
    backend = plugins.load("backends", "torch")
    with backend.open_candidate(artifact, model=model, target=TARGET) as session:
        found = session.run(inputs)["output"]
        rows = session.layers(inputs)
    kind = getattr(torch, dtype)
    with torch.inference_mode():
        wanted = model.module.to(kind)(torch.from_numpy(inputs[INPUT]).to(kind)).float().numpy()
    np.testing.assert_array_equal(found, wanted)
    assert all(row.params_half == row.params > 0 for row in rows if row.computes)
    assert artifact.size_bytes < 0.65 * model.size_bytes  # a zip around half of the bytes


def test_kept_layers_compute_in_float32(model: LoadedModel, tmp_path: Path) -> None:
    artifact = cast(model, tmp_path, dtype="bfloat16", keep_float={"last": 1})
    with plugins.load("backends", "torch").open_candidate(
        artifact, model=model, target=TARGET
    ) as session:
        rows = {row.name: row for row in session.layers(tiny_batches(1, 2)[0]) if row.computes}
    assert {name for name, row in rows.items() if not row.params_half} == {"head"}


def test_nothing_cast_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="nothing was cast to float16"):
        cast(model, tmp_path, dtype="float16", keep_float=["*"])
