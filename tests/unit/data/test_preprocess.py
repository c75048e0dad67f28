"""Declared preprocessing: schema, order of steps, checks, and torchvision as second opinion."""

import subprocess
import sys

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from gate.core.spec import InputSpec
from gate.data.base import DataError
from gate.data.preprocess import ARRAY_KEYS, IMAGE_KEYS, INTERPOLATIONS, PREPROCESS_SCHEMA
from gate.data.transform import Preprocessor, cast

SCHEMA = Draft202012Validator(PREPROCESS_SCHEMA)


def run(options, raw, shape, dtype="float32"):
    SCHEMA.validate(options)
    return Preprocessor(options, {"x": InputSpec(shape=("N", *shape), dtype=dtype)})(raw)["x"]


@pytest.fixture
def photo():
    pixels = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((67, 45))


@pytest.fixture(scope="module")
def transforms():
    from gate.models.torchvision_compat import import_torchvision

    import_torchvision()
    from torchvision import transforms

    return transforms


def test_schema_is_valid_closed_and_knows_every_key():
    Draft202012Validator.check_schema(PREPROCESS_SCHEMA)
    assert PREPROCESS_SCHEMA["additionalProperties"] is False
    assert set(PREPROCESS_SCHEMA["properties"]) >= IMAGE_KEYS | ARRAY_KEYS


@pytest.mark.parametrize(
    "bad",
    [
        {"resise": 3},
        {"resize": 0},
        {"resize": [1, 2, 3]},
        {"crop": "224"},
        {"std": 0},
        {"std": [1, -1]},
        {"mean": []},
        {"decode": "RGB"},
        {"layout": "chw"},
        {"dtype": "float"},
        {"transpose": [0, 0]},
    ],
)
def test_schema_refuses(bad):
    assert not SCHEMA.is_valid(bad)


def test_schema_is_read_without_numpy_and_pillow():
    code = "import sys, gate.data.preprocess; print(set(sys.modules) & {'numpy', 'PIL', 'torch'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("interpolation", sorted(set(INTERPOLATIONS)))
@pytest.mark.parametrize("size", [32, 45, 90])
def test_images_equal_torchvision(photo, transforms, interpolation, size):
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    mode = transforms.InterpolationMode[interpolation.upper()]
    theirs = transforms.Compose(
        [
            transforms.Resize(size, interpolation=mode),
            transforms.CenterCrop(29),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )(photo).numpy()
    mine = run(
        {
            "decode": "rgb",
            "resize": size,
            "crop": 29,
            "interpolation": interpolation,
            "scale": 1 / 255,
            "mean": mean,
            "std": std,
        },
        photo,
        (3, 29, 29),
    )
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("orientation", [(67, 45), (45, 67)])
def test_resize_to_a_pair_is_height_then_width(photo, transforms, orientation):
    image = photo.resize(orientation)
    mine = run({"resize": [20, 30], "dtype": "uint8"}, image, (3, 20, 30), "uint8")
    theirs = np.asarray(transforms.Resize((20, 30))(image))
    np.testing.assert_array_equal(mine, theirs.transpose(2, 0, 1))


def test_colour_orders_and_layouts(photo):
    pixels = np.asarray(photo)
    height, width, _ = pixels.shape
    nhwc = run({"layout": "nhwc"}, photo, (height, width, 3), "uint8")
    np.testing.assert_array_equal(nhwc, pixels)
    bgr = run({"decode": "bgr"}, photo, (3, height, width), "uint8")
    np.testing.assert_array_equal(bgr, pixels[:, :, ::-1].transpose(2, 0, 1))
    gray = run({"decode": "gray"}, photo, (1, height, width), "uint8")
    np.testing.assert_array_equal(gray[0], np.asarray(photo.convert("L")))
    gray = run({"decode": "gray", "layout": "nhwc"}, photo, (height, width, 1), "uint8")
    assert gray.flags.c_contiguous


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_any_mode_is_decoded_to_three_channels(photo, mode):
    image = photo.convert("L").convert(mode) if mode == "LA" else photo.convert(mode)
    assert run({}, image, (3, 45, 67)).shape == (3, 45, 67)


def test_scale_comes_before_mean_and_std():
    assert run({"scale": 0.5, "mean": 1, "std": 4}, np.array([10], np.uint8), (1,)).tolist() == [
        1.0
    ]


def test_statistics_by_channel_follow_the_layout():
    sample = np.ones((2, 3), np.float32)
    assert run({"mean": [1, 2]}, sample, (2, 3)).tolist() == [[0] * 3, [-1] * 3]
    last = run({"mean": [1, 2, 3], "layout": "nhwc"}, sample, (2, 3))
    assert last.tolist() == [[0, -1, -2]] * 2
    with pytest.raises(DataError, match="3 values of mean for 2 channels"):
        run({"mean": [1, 2, 3]}, sample, (2, 3))


def test_arrays_are_reshaped_then_transposed():
    mine = run({"reshape": [2, 3], "transpose": [1, 0]}, np.arange(6), (3, 2), "int64")
    np.testing.assert_array_equal(mine, np.arange(6).reshape(2, 3).T)
    with pytest.raises(DataError, match=r"shape \[6\]: cannot reshape"):
        run({"reshape": [4]}, np.arange(6), (4,))


def test_the_input_is_not_changed_in_place():
    sample = np.ones(3, np.float32)
    run({"mean": 1}, sample, (3,))
    assert sample.tolist() == [1, 1, 1]


def test_large_integers_keep_their_value():
    assert run({"mean": 1}, np.array([2**30 + 1]), (1,), "int32").tolist() == [2**30]


def test_integers_are_rounded_and_never_wrap():
    assert cast(np.array([0.5, 1.5, -0.4]), "int8").tolist() == [0, 2, 0]
    for value in (128.0, -129.0, np.nan, np.inf):
        with pytest.raises(DataError, match="do not fit int8"):
            cast(np.array([value]), "int8")
    with pytest.raises(DataError, match="from -1 to 5, which do not fit uint8"):
        cast(np.array([-1, 5]), "uint8")


def test_a_wrong_shape_names_both():
    with pytest.raises(DataError, match=r"'x'.*shape \[3\], the model takes \[4\]"):
        run({}, np.ones(3), (4,))
    with pytest.raises(DataError, match=r"shape \[3\], the model takes \[1, 3\]"):
        run({}, np.ones(3), (1, 3))
    assert run({}, np.ones((3, 5)), (3, "T")).shape == (3, 5)


def test_a_wrong_type_names_both():
    with pytest.raises(DataError, match="gives float32, the model takes uint8"):
        run({"dtype": "float32"}, np.ones(3), (3,), "uint8")


def test_a_crop_larger_than_the_image_is_refused(photo):
    with pytest.raises(DataError, match=r"image of 45 x 67 .* smaller than the crop of 46 x 10"):
        run({"crop": [46, 10]}, photo, (3, 46, 10))


def test_keys_of_the_other_kind_are_refused(photo):
    with pytest.raises(DataError, match="crop, resize is for images, this source yields arrays"):
        run({"resize": 4, "crop": 4}, np.ones((4, 4)), (4, 4))
    with pytest.raises(DataError, match="reshape is for arrays, this source yields images"):
        run({"reshape": [4]}, photo, (4,))
    with pytest.raises(DataError, match="neither an image nor an array"):
        run({}, object(), (4,))


def test_several_inputs_come_as_a_mapping():
    inputs = {
        "a": InputSpec(shape=("N", 2), dtype="float32"),
        "b": InputSpec(shape=("N",), dtype="int64"),
    }
    out = Preprocessor({}, inputs)({"b": np.array(3), "a": np.zeros(2)})
    assert {name: (v.shape, str(v.dtype)) for name, v in out.items()} == {
        "a": ((2,), "float32"),
        "b": ((), "int64"),
    }
    with pytest.raises(DataError, match="has the inputs a, the model takes a, b"):
        Preprocessor({}, inputs)({"a": np.zeros(2)})
    with pytest.raises(DataError, match="yield a mapping"):
        Preprocessor({}, inputs)(np.zeros(2))
    with pytest.raises(DataError, match="models with one input"):
        Preprocessor({"scale": 2}, inputs)
