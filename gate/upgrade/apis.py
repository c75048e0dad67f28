"""Calls that a version took away, found in what a failed worker said, and what replaced them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATTERNS = (
    re.compile(r"module '(?P<where>[\w.]+)' has no attribute '(?P<what>\w+)'"),
    re.compile(r"cannot import name '(?P<what>\w+)' from '(?P<where>[\w.]+)'"),
    re.compile(r"type object '(?P<where>[\w.]+)' has no attribute '(?P<what>\w+)'"),
    re.compile(r"'(?P<where>[\w.]+)' object has no attribute '(?P<what>\w+)'"),
    re.compile(r"(?P<where>[\w.]+)\(\) got an unexpected keyword argument '(?P<what>\w+)'"),
    re.compile(r"No module named '(?P<where>[\w.]+)'(?P<what>)"),
)

# Longest prefix wins. From the release notes and deprecation messages of the projects.
REPLACEMENTS = {
    "onnx.mapping": "onnx.helper.tensor_dtype_to_np_dtype and its siblings",
    "onnx.helper.float32_to_bfloat16": "ml_dtypes, as onnx.numpy_helper uses it",
    "onnxruntime.quantization.quantize_qat": "onnxruntime.quantization.quantize_static on a QAT model",
    "onnxruntime.transformers": "the package olive-ai",
    "torch._export.capture_pre_autograd_graph": "torch.export.export(...).module()",
    "torch.ao.quantization": "torchao.quantization (PT2E: torchao.quantization.pt2e)",
    "torch.ao.quantization.quantize_pt2e": "torchao.quantization.pt2e.quantize_pt2e",
    "torch.ao.quantization.quantizer": "torchao.quantization.pt2e.quantizer",
    "torch.onnx.utils": "torch.onnx.export(..., dynamo=True)",
    "torch.quantization": "torch.ao.quantization, later torchao.quantization",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GoneApi:
    """A name that was asked for and is not there."""

    call: str
    replacement: str | None
    """None where nothing is known of one."""

    def __str__(self) -> str:
        instead = f"; use {self.replacement}" if self.replacement else "; see its release notes"
        return f"{self.call} is not in this version{instead}"


def gone_api(said: str) -> GoneApi | None:
    """The first name in an error message that a library no longer has; None where none is told.

    >>> str(gone_api("AttributeError: module 'torch.quantization' has no attribute 'fuse'"))
    'torch.quantization.fuse is not in this version; use torch.ao.quantization, later torchao.quantization'
    """
    for pattern in _PATTERNS:
        match = pattern.search(said)
        if match is not None:
            call = ".".join(part for part in (match["where"], match["what"]) if part)
            return GoneApi(call=call, replacement=_replacement(call))
    return None


def _replacement(call: str) -> str | None:
    fitting = [p for p in REPLACEMENTS if call == p or call.startswith(f"{p}.")]
    return REPLACEMENTS[max(fitting, key=len)] if fitting else None
