"""Names that a version took away, read from real error messages."""

from __future__ import annotations

import importlib

import pytest
import torch

from gate.upgrade.apis import gone_api


def test_a_module_without_the_attribute() -> None:
    with pytest.raises(AttributeError) as error:
        torch.ao.quantization.no_such_function  # noqa: B018 - asked for to fail
    gone = gone_api(f"AttributeError: {error.value}")
    assert gone is not None
    assert gone.call == "torch.ao.quantization.no_such_function"
    assert gone.replacement is not None
    assert "torchao" in gone.replacement


def test_a_name_that_cannot_be_imported() -> None:
    with pytest.raises(ImportError) as error:
        from onnxruntime.quantization import quantize_qat  # noqa: F401 - asked for to fail
    gone = gone_api(f"ImportError: {error.value}")
    assert gone is not None
    assert gone.call == "onnxruntime.quantization.quantize_qat"
    assert "quantize_static" in str(gone)


def test_a_module_that_is_gone() -> None:
    with pytest.raises(ModuleNotFoundError) as error:
        importlib.import_module("torch.quantization_of_old")
    gone = gone_api(str(error.value))
    assert gone is not None
    assert gone.call == "torch.quantization_of_old"
    assert str(gone).endswith("see its release notes")


def test_an_argument_that_is_gone() -> None:
    with pytest.raises(TypeError) as error:
        torch.ao.quantization.get_default_qconfig(no_such=1)
    gone = gone_api(f"TypeError: {error.value}")
    assert gone is not None
    assert gone.call.endswith("get_default_qconfig.no_such")


@pytest.mark.parametrize("said", ["", "out of memory", "AssertionError", "exit code 1"])
def test_other_failures_name_no_call(said: str) -> None:
    assert gone_api(said) is None
