"""The methods of torchao and of torch.export, and 2:4 pruning, pass the conformance kit."""

from typing import Any, ClassVar

import pytest

from gate.quantize._torch_finetune import complete_training
from gate.testing.quantizer_kit import QuantizerKit

pytest.importorskip("torchao")


class TestPt2e(QuantizerKit):
    quantizer = "pt2e"
    backend = "torch"
    options: ClassVar[dict[str, Any]] = {"keep_float": ["head"], "reduce_range": True}


class TestPt2eTrained(TestPt2e):
    options: ClassVar[dict[str, Any]] = {
        "qat": complete_training({"epochs": 1, "freeze_batch_norm": 0}, key="qat", observers=True)
    }
    # Trained on noise without labels: what counts here is that it stays near the float network.
    max_relative_mse_percent = 5.0
    # What is the method's own, and no option's, has been tried above: exporting takes its time.
    test_import_loads_no_framework = None  # type: ignore[assignment]
    test_versions_are_text = None  # type: ignore[assignment]
    test_refuses_no_calibration = None  # type: ignore[assignment]
    test_leaves_the_model_alone = None  # type: ignore[assignment]
    test_writes_only_into_out_dir = None  # type: ignore[assignment]
    test_artifact_describes_its_file = None  # type: ignore[assignment]


class TestWeightOnlyInt8(QuantizerKit):
    quantizer = "torchao-weight-only"
    backend = "torch"
    integers = False


class TestWeightOnlyInt4ByGroup(TestWeightOnlyInt8):
    options: ClassVar[dict[str, Any]] = {
        "weights": "int4",
        "group": 8,
        "modules": ["Linear", "Conv2d"],
        "keep_float": ["stem.0"],
    }
    max_relative_mse_percent = 5.0


class TestWeightOnlyInt2(TestWeightOnlyInt8):
    options: ClassVar[dict[str, Any]] = {"weights": "int2", "group": 8, "symmetric": False}
    max_relative_mse_percent = 60.0


class TestDynamic(QuantizerKit):
    quantizer = "torchao-dynamic"
    backend = "torch"


class TestSparse(QuantizerKit):
    quantizer = "sparse-2-4"
    backend = "torch"
    # Half of the weights of a random network are gone.
    max_relative_mse_percent = 60.0
