"""Data source ``sklearn-digits``: the 1797 handwritten digits that scikit-learn carries."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
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
        if find_spec("sklearn") is None:
            return "scikit-learn is not installed: pip install 'quantgate[sklearn]'"
        return None

    def open(self, options: Options) -> ArrayDataset:
        """Load the images; no network is used.

        Raises:
            DataError: scikit-learn's data is not the 1797 digits.
        """
        from gate.data.arrays import ArrayDataset

        images, labels = _digits()
        split = str(options.get("split", "all"))
        if split != "all":
            in_test = test_mask(labels)
            chosen = in_test if split == "test" else ~in_test
            images, labels = images[chosen], labels[chosen]
        return ArrayDataset(images, labels, origin=f"sklearn-digits ({split})")


def _digits() -> tuple[Array, Array]:
    """Images and labels, read from scikit-learn's own file where it is in its usual place:
    importing ``sklearn.datasets`` takes a second, in every worker, and this the tenth of one."""
    import numpy as np

    spec = find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    file = Path(folders[0], "datasets", "data", "digits.csv.gz") if folders else None
    if file is not None and file.is_file():
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        table = np.column_stack([digits.data, digits.target]).astype(np.uint8)
    if table.shape != (1797, 65):
        raise DataError(f"scikit-learn's digits are a table of {table.shape}, not (1797, 65)")
    return table[:, :64].reshape(-1, 8, 8), table[:, 64].astype(np.int64)


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
