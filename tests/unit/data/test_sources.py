"""What each data source reads, and what it says about broken input."""

import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gate.data import sklearn_digits
from gate.data.base import DataError
from gate.data.image_folder import ImageFolder
from gate.data.npz import Npz
from gate.data.python import PythonData
from gate.data.sklearn_digits import SklearnDigits


def save(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (value, 0, 0)).save(path)


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "images"
    for value, name in enumerate(["dog/b.png", "dog/a.png", "cat/deep/er.PNG", "cat/x.jpg"]):
        save(root / name, value * 10)
    (root / "dog" / "notes.txt").write_text("no image")
    (root / ".cache").mkdir()
    return root


def listed(folder, text):
    path = folder / "list.txt"
    path.write_text(text)
    return ImageFolder().open({"list": str(path)})


class TestImageFolder:
    def test_class_folders_are_numbered_by_name(self, folder):
        data = ImageFolder().open({"path": str(folder)})
        assert [data.label(i) for i in range(len(data))] == [0, 0, 1, 1]
        assert data.raw(2).getpixel((0, 0)) == (10, 0, 0)
        assert data.identity(3) == (folder / "dog" / "b.png").read_bytes()

    @pytest.mark.parametrize("separator", [" ", ", ", ",", "\t", "   "])
    def test_list_lines(self, folder, separator):
        data = listed(folder, f"# head\n\n./dog/b.png{separator}472\ncat/x.jpg{separator}3\n")
        assert [data.label(i) for i in range(2)] == [472, 3]
        assert data.raw(0).getpixel((0, 0)) == (0, 0, 0)

    def test_list_names_may_have_spaces_and_lack_labels(self, folder):
        save(folder / "a b 1.png", 5)
        assert listed(folder, "a b 1.png 7\n").label(0) == 7
        assert listed(folder, "a b 1.png\ndog/a.png\n").label(1) is None
        with pytest.raises(DataError, match=r"list.txt:2: some lines have a class index"):
            listed(folder, "dog/a.png 1\ndog/b.png\n")

    def test_list_is_relative_to_path_where_that_is_given(self, folder, tmp_path):
        (tmp_path / "elsewhere.txt").write_text("b.png 1\n")
        options = {"list": str(tmp_path / "elsewhere.txt"), "path": str(folder / "dog")}
        assert ImageFolder().open(options).label(0) == 1

    @pytest.mark.parametrize("name", ["../secret.png", "dog/../../secret.png", "{root}/secret.png"])
    def test_list_stays_in_its_folder(self, folder, tmp_path, name):
        save(tmp_path / "secret.png", 1)
        with pytest.raises(DataError, match=r"list.txt:1: .* leads out of"):
            listed(folder, name.format(root=tmp_path) + " 1\n")

    def test_links_stay_in_the_folder(self, folder, tmp_path):
        save(tmp_path / "secret.png", 1)
        (folder / "dog" / "a.png").unlink()
        (folder / "dog" / "a.png").symlink_to(tmp_path / "secret.png")
        (folder / "dog" / "c.png").symlink_to(folder / "dog" / "b.png")
        data = ImageFolder().open({"path": str(folder)})
        with pytest.raises(DataError, match=r"a\.png: a link that leads out of"):
            data.raw(2)
        assert data.raw(4).size == (4, 4)

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    def test_corrupt_images_are_named(self, folder, damage):
        path = folder / "cat" / "x.jpg"
        content = path.read_bytes()
        path.write_bytes({"truncated": content[:-200], "text": b"hello", "empty": b""}[damage])
        data = ImageFolder().open({"path": str(folder)})
        with pytest.raises(DataError, match=r"cat/x\.jpg: not a readable image"):
            data.raw(1)

    def test_decompression_bombs_are_refused(self, folder, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
        with pytest.raises(DataError, match=r"x\.jpg: not a readable image: .*bomb"):
            ImageFolder().open({"path": str(folder)}).raw(1)

    def test_what_is_missing_is_named(self, folder, tmp_path):
        with pytest.raises(DataError, match="nowhere: no such folder"):
            ImageFolder().open({"path": str(tmp_path / "nowhere")})
        with pytest.raises(DataError, match="no such list file"):
            ImageFolder().open({"list": str(tmp_path / "none.txt")})
        with pytest.raises(DataError, match=r"list.txt:1: no such image: .*gone\.png"):
            listed(folder, "gone.png 1\n")
        with pytest.raises(DataError, match="names no image"):
            listed(folder, "# nothing\n")
        (folder / "empty").mkdir()
        with pytest.raises(DataError, match="empty: a class folder with no image"):
            ImageFolder().open({"path": str(folder)})
        with pytest.raises(DataError, match="no class folders"):
            ImageFolder().open({"path": str(folder / "dog")})


class TestNpz:
    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_reads_what_numpy_wrote(self, tmp_path, save, order):
        x = np.asarray(np.random.default_rng(0).normal(size=(5, 3, 2)), order=order)
        save(tmp_path / "a.npz", x=x, y=np.arange(5), other=np.zeros(9))
        data = Npz().open({"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"})
        assert len(data) == 5
        np.testing.assert_array_equal(data.raw(3), x[3])
        assert data.label(3) == 3

    def test_uncompressed_arrays_cost_no_memory(self, tmp_path):
        import tracemalloc

        np.savez(tmp_path / "a.npz", x=np.zeros((64, 1 << 16), np.float32))
        tracemalloc.start()
        data = Npz().open({"path": str(tmp_path / "a.npz"), "inputs": "x"})
        data.raw(63)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_named_inputs(self, tmp_path):
        np.savez(tmp_path / "a.npz", p=np.ones((2, 3)), q=np.zeros(2, np.int64))
        options = {"path": str(tmp_path / "a.npz"), "inputs": {"ids": "q", "mask": "p"}}
        sample = Npz().open(options).raw(1)
        assert {name: value.shape for name, value in sample.items()} == {"ids": (), "mask": (3,)}

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_objects_are_not_unpickled(self, tmp_path, save):
        save(tmp_path / "a.npz", x=np.array([print, print], dtype=object))
        with pytest.raises(DataError, match=r"a\.npz: cannot be read.*([Oo]bject|pickle)"):
            Npz().open({"path": str(tmp_path / "a.npz"), "inputs": "x"})

    def test_faults_are_named(self, tmp_path):
        path = tmp_path / "a.npz"
        options = {"path": str(path), "inputs": "x", "labels": "y"}
        with pytest.raises(DataError, match="no such file"):
            Npz().open(options)
        path.write_bytes(b"not a zip")
        with pytest.raises(DataError, match=r"cannot be read as an \.npz file"):
            Npz().open(options)
        np.savez(path, x=np.ones((3, 2)), z=np.ones(2))
        with pytest.raises(DataError, match=r"no array 'y' \(there is x, z\)"):
            Npz().open(options)
        np.savez(path, x=np.ones((3, 2)), y=np.arange(2))
        with pytest.raises(DataError, match=r"numbers of samples differ \(inputs: 3, labels: 2\)"):
            Npz().open(options)
        np.savez(path, x=np.ones((3, 2)), y=np.array([True, False, True]))
        with pytest.raises(DataError, match="labels must be numbers or texts"):
            Npz().open(options)
        np.savez(path, x=np.array(["a", "b"]), y=np.arange(2))
        with pytest.raises(DataError, match="inputs must be numbers"):
            Npz().open(options)

    def test_a_truncated_member_is_refused(self, tmp_path):
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order'")
        with pytest.raises(DataError, match="cannot be read"):
            Npz().open({"path": str(path), "inputs": "x"})


class TestSklearnDigits:
    def test_split_is_stratified_disjoint_and_complete(self):
        parts = {s: SklearnDigits().open({"split": s}) for s in ("train", "test", "all")}
        assert {s: len(p) for s, p in parts.items()} == {"train": 1000, "test": 797, "all": 1797}
        labels = {s: [p.label(i) for i in range(len(p))] for s, p in parts.items()}
        for digit in range(10):
            share = labels["all"].count(digit) * 797 / 1797
            assert abs(labels["test"].count(digit) - share) < 1
        whole = sorted(parts["all"].identity(i) for i in range(1797))
        halves = [parts[s].identity(i) for s in ("train", "test") for i in range(len(parts[s]))]
        assert sorted(halves) == whole

    def test_split_never_moves(self):
        test = SklearnDigits().open({"split": "test"})
        assert [test.label(i) for i in range(12)] == [0, 1, 3, 5, 9, 0, 1, 2, 3, 4, 5, 6]

    @pytest.mark.parametrize("moved", [False, True])
    def test_images_and_labels_are_those_of_scikit_learn(self, monkeypatch, moved):
        if moved:
            monkeypatch.setattr(sklearn_digits, "find_spec", lambda name: None)
        data, theirs = SklearnDigits().open({}), load_digits()
        images = np.stack([data.raw(i) for i in range(1797)])
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, theirs.images)
        assert [data.label(i) for i in range(1797)] == theirs.target.tolist()


class TestPython:
    @pytest.fixture
    def module(self, tmp_path, monkeypatch):
        def write(body, name="my_data"):
            (tmp_path / f"{name}.py").write_text("import numpy as np\n" + body)
            return PythonData()

        (tmp_path / "pyproject.toml").write_text('[tool.gate]\ntrusted = ["my_data"]\n')
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(os.sys.modules, "my_data", raising=False)
        yield write
        os.sys.modules.pop("my_data", None)

    def test_a_mapping_with_labels(self, module):
        source = module("def f(n):\n    return {'a': np.ones((n, 2))}, np.arange(n)\n")
        data = source.open({"entry": "my_data:f", "kwargs": {"n": 3}})
        assert len(data) == 3
        assert data.label(2) == 2
        assert list(data.raw(0)) == ["a"]

    def test_a_data_set_of_ones_own(self, module):
        source = module(
            "class D:\n"
            "    def __len__(self): return 2\n"
            "    def raw(self, i): return np.full(3, i)\n"
            "    def label(self, i): return None\n"
            "    def identity(self, i): return bytes([i])\n"
        )
        assert source.open({"entry": "my_data:D"}).identity(1) == b"\x01"

    def test_faults_are_told_without_a_traceback(self, module):
        source = module("def f():\n    raise KeyError('column')\ndef g():\n    return 'x'\n")
        with pytest.raises(DataError, match="my_data:f raised KeyError: 'column'"):
            source.open({"entry": "my_data:f"})
        with pytest.raises(DataError, match="returned str: expected a Dataset"):
            source.open({"entry": "my_data:g"})

    def test_modules_that_are_not_trusted_are_not_imported(self, module, tmp_path):
        source = module("open('ran', 'w')\ndef f(): pass\n", name="foreign_data")
        with pytest.raises(DataError, match="foreign_data"):
            source.open({"entry": "foreign_data:f"})
        assert not (tmp_path / "ran").exists()
