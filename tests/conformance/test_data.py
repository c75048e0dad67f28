"""Every data source that ships passes the data kit."""

import numpy as np
import pytest
from PIL import Image

from gate import plugins
from gate.testing.data_kit import DataSourceKit


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 10, 12, 3), dtype=np.uint8)


class TestImageFolder(DataSourceKit):
    name = "image-folder"
    required_path = "path"

    @pytest.fixture
    def options(self, tmp_path, images):
        for index, image in enumerate(images):
            folder = tmp_path / f"class{index % 2}"
            folder.mkdir(exist_ok=True)
            Image.fromarray(image).save(folder / f"{index}.png")
        return {"path": str(tmp_path)}


class TestYoloFolder(DataSourceKit):
    name = "yolo-folder"
    required_path = "path"

    @pytest.fixture
    def options(self, tmp_path, images):
        for name in ("images", "labels"):
            (tmp_path / name).mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
            (tmp_path / "labels" / f"{index}.txt").write_text(f"{index} 0.5 0.5 0.25 0.25\n")
        return {"path": str(tmp_path)}


class TestMaskFolder(DataSourceKit):
    name = "mask-folder"
    required_path = "path"

    @pytest.fixture
    def options(self, tmp_path, images):
        for name in ("images", "masks"):
            (tmp_path / name).mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / "images" / f"{index}.png")
            Image.fromarray(image[:, :, 0] % 4).save(tmp_path / "masks" / f"{index}.png")
        return {"path": str(tmp_path)}


class TestNpzOfTargets(DataSourceKit):
    name = "npz"
    required_path = "path"

    @pytest.fixture
    def options(self, tmp_path, images):
        np.savez(tmp_path / "a.npz", x=images, y=np.linspace(0.0, 1.0, 12).reshape(6, 2))
        return {"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"}


class TestNpz(DataSourceKit):
    name = "npz"
    required_path = "path"

    @pytest.fixture
    def options(self, tmp_path, images):
        np.savez(tmp_path / "a.npz", x=images, y=np.arange(6))
        return {"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"}


class TestSklearnDigits(DataSourceKit):
    name = "sklearn-digits"

    @pytest.fixture
    def options(self):
        return {"split": "test"}


class TestPython(DataSourceKit):
    name = "python"

    @pytest.fixture
    def options(self, tmp_path, monkeypatch):
        (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["kit_data"]\n')
        (tmp_path / "kit_data.py").write_text(
            "import numpy as np\n"
            "def build(count):\n"
            "    return np.arange(count * 4.0).reshape(count, 4), np.arange(count)\n"
        )
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        return {"entry": "kit_data:build", "kwargs": {"count": 5}}


def test_every_source_has_a_class_here():
    assert {kit.name for kit in DataSourceKit.__subclasses__()} == set(plugins.BUILTIN["data"])
