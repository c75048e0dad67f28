"""Truths that are no class indices: boxes, masks, texts and targets, from folders and archives."""

import numpy as np
import pytest
from PIL import Image

from gate.core.spec import DataSpec, InputSpec, SampleSpec
from gate.data.base import DataError
from gate.data.box_folder import YoloFolder
from gate.data.mask_folder import MaskFolder
from gate.data.npz import Npz
from gate.data.samples import open_samples

SIZE = (6, 8)  # height, width


def pictures(folder, names, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        channels = () if mode == "L" else (3,)
        pixels = np.full((*SIZE, *channels), 10 * number, np.uint8)
        Image.fromarray(pixels, mode).save(folder / name)


def opened(source, options, **spec):
    part = SampleSpec(source=source, options=options, samples=None, skip=0, seed=None)
    shape = spec.pop("shape", ("N", 3, *SIZE))
    inputs = {"x": InputSpec(shape=shape, dtype="float32")}
    data = DataSpec(evaluation=part, calibration=None, preprocess={}, overlap=False)
    return open_samples(data, inputs)[0]


class TestYoloFolder:
    @pytest.fixture
    def root(self, tmp_path):
        pictures(tmp_path / "images", ["b.jpg", "a.png", "c.png"])
        labels = tmp_path / "labels"
        labels.mkdir()
        (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n\n7 0.25 0.5 0.5 1.0\n")
        (labels / "b.txt").write_text("1 0.1 0.2 0.1 0.1\n")
        return tmp_path

    def test_boxes_are_those_of_the_image_s_file(self, root):
        data = YoloFolder().open({"path": str(root)})
        assert [len(data.label(index)) for index in range(3)] == [2, 1, 0]
        assert data.label(0).tolist() == [[0, 0.5, 0.5, 0.2, 0.4], [7, 0.25, 0.5, 0.5, 1.0]]
        assert data.label(2).shape == (0, 5)
        assert data.raw(1).format == "JPEG"

    def test_batches_carry_boxes_as_targets(self, root):
        (batch,) = opened("yolo-folder", {"path": str(root)}).batches(8)
        assert batch.labels is None
        assert [len(boxes) for boxes in batch.targets] == [2, 1, 0]

    def test_digest_tells_boxes_apart(self, root):
        before = opened("yolo-folder", {"path": str(root)}).digest()
        assert before == opened("yolo-folder", {"path": str(root)}).digest()
        (root / "labels" / "b.txt").write_text("1 0.1 0.2 0.1 0.11\n")
        assert before != opened("yolo-folder", {"path": str(root)}).digest()

    @pytest.mark.parametrize(
        "line",
        ["0 0.5 0.5 0.2", "0 0.5 0.5 0.2 1.4", "0.5 0.5 0.5 0.1 0.1", "dog 0 0 1 1", "-1 0 0 1 1"],
    )
    def test_a_line_that_is_no_box_is_named(self, root, line):
        (root / "labels" / "a.txt").write_text(f"0 0.5 0.5 0.2 0.4\n{line}\n")
        with pytest.raises(DataError, match=r"a\.txt:2: expected 'class x y width height'"):
            YoloFolder().open({"path": str(root)})

    def test_boxes_without_an_image_are_a_mistake(self, root):
        (root / "labels" / "z.txt").write_text("0 0.5 0.5 0.2 0.4\n")
        with pytest.raises(DataError, match=r"z\.txt belongs to no image"):
            YoloFolder().open({"path": str(root)})

    def test_folders_are_needed_and_hold_something(self, root):
        for path in (root / "labels").iterdir():
            path.unlink()
        with pytest.raises(DataError, match=r"labels: no file of \.txt"):
            YoloFolder().open({"path": str(root)})
        with pytest.raises(DataError, match="images: no such folder"):
            YoloFolder().open({"path": str(root / "labels")})


class TestMaskFolder:
    @pytest.fixture
    def root(self, tmp_path):
        pictures(tmp_path / "images", ["a.png", "b.jpg"])
        pictures(tmp_path / "masks", ["a.png", "b.png"], "L")
        return tmp_path

    def test_masks_hold_the_class_of_each_pixel(self, root):
        data = MaskFolder().open({"path": str(root)})
        assert data.label(0).shape == SIZE
        assert data.label(1).dtype == np.int64
        assert set(data.label(1).ravel()) == {10}

    def test_each_needs_the_other(self, root):
        (root / "masks" / "b.png").unlink()
        with pytest.raises(DataError, match="masks: there is no 'b'"):
            MaskFolder().open({"path": str(root)})

    def test_a_mask_in_colour_is_refused(self, root):
        pictures(root / "masks", ["a.png"])
        with pytest.raises(DataError, match="expected one plane of class indices"):
            MaskFolder().open({"path": str(root)}).label(0)


@pytest.mark.parametrize(
    "labels",
    [
        np.arange(12.0).reshape(4, 3),
        np.arange(4.0),
        np.array(["a", "bc", "", "d e"]),
        np.arange(16).reshape(4, 2, 2),
    ],
)
def test_archives_give_truths_of_any_kind(tmp_path, labels):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2), np.float32), y=labels)
    options = {"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"}
    data = Npz().open(options)
    assert type(data.label(1)) is (str if labels.dtype.kind == "U" else np.ndarray)
    np.testing.assert_array_equal(data.label(1), labels[1])
    first, last = opened("npz", options, shape=("N", 2)).batches(3)
    assert (first.labels, last.labels, len(last.targets)) == (None, None, 1)


def test_dates_are_no_truth(tmp_path):
    days = np.array(["2020-01-01"] * 4, dtype="datetime64[D]")
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2), np.float32), y=days)
    with pytest.raises(DataError, match="labels must be numbers or texts"):
        Npz().open({"path": str(tmp_path / "a.npz"), "inputs": "x", "labels": "y"})
