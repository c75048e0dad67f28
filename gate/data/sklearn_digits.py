"""Data source ``sklearn-digits``: the 1797 handwritten digits that scikit-learn carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from gate.core.canonical import JsonValue
from gate.core.spec import Options
from gate.core.tensors import Array
from gate.data.base import DataError

if TYPE_CHECKING:
    from gate.data.arrays import ArrayDataset

TEST_SAMPLES = 797
SPLIT_SEED = 20240229


class SklearnDigits:
    """8 x 8 grey images (uint8, 0 to 16) with ten classes, and a fixed stratified split.

    Train has 1000 samples and test 797, each class in its share of the whole (to one sample). The
    split depends on nothing but NumPy's PCG64 stream, and both parts keep scikit-learn's order.
    """

    name: ClassVar[str] = "sklearn-digits"
    options_schema: ClassVar[Mapping[str, JsonValue]] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "split": {
                "enum": ["train", "test", "all"],
                "description": "train (1000), test (797) or all (1797, the default).",
            }
        },
    }

    def unavailable(self) -> str | None:
        """scikit-learn must be installed."""
        from importlib.util import find_spec

        if find_spec("sklearn") is None:
            return "scikit-learn is not installed: pip install 'quantgate[sklearn]'"
        return None

    def open(self, options: Options) -> ArrayDataset:
        """Load the images; no network is used.

        Raises:
            DataError: scikit-learn's data is not the 1797 digits.
        """
        import numpy as np
        from sklearn.datasets import load_digits

        from gate.data.arrays import ArrayDataset

        digits = load_digits()
        images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
        if images.shape != (1797, 8, 8):
            raise DataError(f"scikit-learn's digits have shape {images.shape}, not (1797, 8, 8)")
        split = str(options.get("split", "all"))
        if split != "all":
            in_test = test_mask(labels)
            chosen = in_test if split == "test" else ~in_test
            images, labels = images[chosen], labels[chosen]
        return ArrayDataset(images, labels, origin=f"sklearn-digits ({split})")


def test_mask(labels: Array) -> Array:
    """True for the samples of the test split; shares a class by largest remainder."""
    import numpy as np

    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * TEST_SAMPLES / len(labels)
    take = np.floor(exact).astype(int)
    by_remainder = np.argsort(-(exact - take), kind="stable")
    take[by_remainder[: TEST_SAMPLES - take.sum()]] += 1
    generator = np.random.Generator(np.random.PCG64(SPLIT_SEED))
    mask = np.zeros(len(labels), dtype=bool)
    for label, number in zip(classes, take, strict=True):
        mask[generator.permutation(np.flatnonzero(labels == label))[:number]] = True
    return mask
