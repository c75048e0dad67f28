"""The torch backend passes the conformance kit with every engine."""

from typing import Any, ClassVar

import pytest

from gate.testing.backend_kit import BackendKit

pytest.importorskip("torch")


class TestX86(BackendKit):
    backend = "torch"
    target_options: ClassVar[dict[str, Any]] = {"engine": "x86"}
    quantizer = "torch-fx-static"

    def threads_in_use(self, session: Any) -> int | None:
        import torch

        return torch.get_num_threads()


class TestFbgemm(TestX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "fbgemm"}


class TestOnednn(TestX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "onednn"}


class TestQnnpack(TestX86):
    target_options: ClassVar[dict[str, Any]] = {"engine": "qnnpack"}
