"""State dicts from files: what is read, what is refused and why."""

import hashlib
from pathlib import Path

import pytest

from gate.models.base import ModelError
from gate.models.weights import load_weights, read_state

torch = pytest.importorskip("torch")


@pytest.fixture
def linear() -> "torch.nn.Linear":
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


def save(module: "torch.nn.Module", path: Path) -> Path:
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(module.state_dict(), path)
    else:
        torch.save(module.state_dict(), path)
    return path


@pytest.mark.parametrize(("name", "format_"), [("w.safetensors", None), ("w.pth", "torch")])
def test_weights_come_back(
    tmp_path: Path, linear: "torch.nn.Linear", name: str, format_: str | None
) -> None:
    path = save(linear, tmp_path / name)
    other = torch.nn.Linear(3, 2)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest().upper()
    load_weights(
        other,
        {"path": str(path), "sha256": sha256, **({"format": format_} if format_ else {})},
    )
    assert torch.equal(other.weight, linear.weight)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".pkl", ".bin"])
def test_pickles_need_the_spec_s_word(
    tmp_path: Path, linear: "torch.nn.Linear", suffix: str
) -> None:
    path = save(linear, tmp_path / f"w{suffix}")
    with pytest.raises(ModelError, match=r"pickles are refused.*format: torch"):
        read_state(path, sha256=None, format=None)


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    torch.save({"weight": Evil()}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="more than tensors"):
        read_state(tmp_path / "w.pt", sha256=None, format="torch")
    assert not (tmp_path / "ran").exists()


def test_a_wrong_digest_is_found_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ModelError, match="SHA-256 is"):
        read_state(path, sha256="0" * 64, format=None)
    with pytest.raises(ModelError, match="is no safetensors file"):
        read_state(path, sha256=None, format=None)


def test_keys_and_shapes_must_fit(tmp_path: Path, linear: "torch.nn.Linear") -> None:
    path = save(linear, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="does not fit the model"):
        load_weights(torch.nn.Linear(4, 2), {"path": str(path)})
    with pytest.raises(ModelError, match="Missing key"):
        load_weights(torch.nn.Sequential(torch.nn.Linear(3, 2)), {"path": str(path)})


def test_a_checkpoint_is_no_state_dict(tmp_path: Path, linear: "torch.nn.Linear") -> None:
    torch.save({"model": linear.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="no state dict"):
        read_state(tmp_path / "w.pt", sha256=None, format="torch")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such weights file"):
        read_state(tmp_path / "w.safetensors", sha256=None, format=None)
