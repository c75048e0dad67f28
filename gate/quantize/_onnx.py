"""What the quantizers of ONNX files share: options, preparation, silence, and a look at the result."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gate.core.artifact import Artifact, Format
from gate.core.canonical import JsonValue
from gate.core.transform import TensorTransform, reference_transforms
from gate.models.base import LoadedModel, ModelError
from gate.models.onnx_files import OnnxParts, inspect_onnx
from gate.quantize.base import CalibrationBatches, QuantizeError
from gate.quantize.keep_float import choose, keep_float_schema, parse_keep_float, told

_NEEDED = ("onnxruntime", "onnx", "sympy")
_LARGEST = 2**31 - 1  # bytes; a ModelProto cannot be longer

WEIGHTS = ("int8/per-channel", "int8/per-tensor", "uint8/per-channel", "uint8/per-tensor")

COMMON_PROPERTIES: Mapping[str, JsonValue] = {
    "reduce_range": {
        "type": "boolean",
        "default": False,
        "description": "Weights in 7 bits, against saturation on x86 without VNNI.",
    },
    "op_types": {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "minItems": 1,
        "uniqueItems": True,
        "description": "Quantize these ONNX operators only; left out: all that the library can.",
    },
    "keep_float": keep_float_schema(names="node names", types="ONNX operators"),
    "preprocess": {
        "type": "boolean",
        "default": True,
        "description": "Optimise the graph and infer shapes first.",
    },
}
"""JSON Schema properties of the dynamic and the static method."""

# Operators that only a quantizer writes.
_QUANTIZED_OPS = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "GatherBlockQuantized",
        "MatMulBnb4",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "MatMulNBits",
        "QAttention",
        "QGemm",
        "QuantizeLinear",
    }
)


def unavailable() -> str | None:
    """Why ONNX Runtime's quantizers cannot work here and how to get them."""
    for name in _NEEDED:
        if find_spec(name) is None:
            return f"{name} is not installed: pip install 'quantgate[onnxruntime]'"
    return None


def versions() -> dict[str, str]:
    """Distribution -> version of everything that decides the result."""
    found = {}
    for name in ("onnx", "onnxruntime", "numpy", "sympy"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@contextlib.contextmanager
def quiet(doing: str) -> Iterator[None]:
    """Keep the library's chatter off the terminal, and turn what it only logs as errors, and every
    exception of its own, into errors.

    Raises:
        QuantizeError: an error was raised, or logged and passed over.
    """
    heard = _Heard()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [heard]  # the library logs on the root logger, which would print
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except QuantizeError:
        raise
    except Exception as error:  # the library raises whatever its code runs into
        told = str(error) or repr(error)
        raise QuantizeError(f"{doing} failed: {type(error).__name__}: {told}") from error
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    if heard.errors:
        raise QuantizeError(
            f"{doing} did not do its work: {'; '.join(dict.fromkeys(heard.errors))}"
        )


class _Heard(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.errors.append(" ".join(record.getMessage().split())[-500:])


def prepare(model: LoadedModel, *, preprocess: bool, folder: Path) -> Path:
    """Write the float model as the quantizer gets it, with every node named, and return its path.

    Raises:
        QuantizeError: no ONNX file, too large for one file, or pre-processing failed.
    """
    import onnx

    if model.format is not Format.ONNX or model.path is None:
        raise QuantizeError(f"takes an ONNX file, not {model.format.value}")
    try:
        parts = inspect_onnx(model.path)
    except ModelError as error:
        raise QuantizeError(str(error)) from error
    if parts.size_bytes > _LARGEST:
        raise QuantizeError(f"{model.path}: models over 2 GiB are not supported by this method")
    proto = onnx.load_model(str(model.path))
    _refuse_quantized(proto, model.path)
    del proto.graph.value_info[:]  # stale after an exporter's optimiser; inferred anew
    path = folder / "float.onnx"
    onnx.save_model(proto, str(path))
    if preprocess:
        _preprocess(path, folder)
        proto = onnx.load_model(str(path))
    _name_nodes(proto)
    onnx.save_model(proto, str(path))
    return path


def _preprocess(path: Path, folder: Path) -> None:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    written = folder / "preprocessed.onnx"
    try:
        with quiet("ONNX Runtime's pre-processing"):
            quant_pre_process(str(path), str(written))
    except QuantizeError:
        # Symbolic shape inference knows fewer operators than the runtime. Without it the optimiser
        # still runs, and ONNX's own inference gives the element types that quantizers need.
        with quiet("ONNX Runtime's pre-processing without symbolic shape inference"):
            quant_pre_process(str(path), str(written), skip_symbolic_shape=True)
    written.replace(path)


def _name_nodes(proto: Any) -> None:
    """Name the nodes that have no name as the backend names them, so that globs can reach them."""
    for node in proto.graph.node:
        if not node.name:
            node.name = f"{node.op_type}:{next(filter(None, node.output), '')}"


def _refuse_quantized(proto: Any, path: Path) -> None:
    found = sorted({n.op_type for n in proto.graph.node} & _QUANTIZED_OPS)
    if found:
        raise QuantizeError(
            f"{path}: is quantized already (it has {', '.join(found)}): use method 'candidate'"
        )


def excluded_nodes(
    path: Path, keep: JsonValue, model: LoadedModel, calibration: CalibrationBatches | None
) -> list[str]:
    """Names of the nodes that the option ``keep_float`` keeps in floating point.

    Args:
        path: the prepared model.
        keep: the option, a list or a mapping.
        model: the model that was prepared, for the transforms of its inputs.
        calibration: samples, for nodes chosen by sensitivity.

    Raises:
        QuantizeError: a glob that selects nothing, or more layers than there are.
    """
    from gate.quantize._onnx_layers import layers_of, noise_of_layers

    parsed = parse_keep_float(keep)
    if not parsed:
        return []
    transforms = input_transforms(model)
    return sorted(
        choose(
            parsed,
            layers_of(path),
            noise=lambda layers: noise_of_layers(
                path, layers, calibration=calibration, transforms=transforms
            ),
            what="node",
        )
    )


def input_transforms(model: LoadedModel) -> Mapping[str, TensorTransform]:
    """From the spec's inputs to the file's."""
    return reference_transforms(model.spec, "onnx").inputs


def finish(
    path: Path, float_path: Path, *, producer: str, options: Mapping[str, JsonValue]
) -> Artifact:
    """Describe what the quantizer wrote.

    Raises:
        QuantizeError: it wrote nothing, or a model without a quantized operator.
    """
    parts = _written(path)
    after = Counter(node.op_type for node in parts.proto.graph.node)
    if not any(op in _QUANTIZED_OPS or op.startswith("QLinear") for op in after):
        before = Counter(n.op_type for n in inspect_onnx(float_path).proto.graph.node)
        present = ", ".join(f"{op} ({count})" for op, count in sorted(before.items()))
        kept = told(options.get("keep_float"))
        limits = [
            f"op_types: {', '.join(options['op_types'])}" if options.get("op_types") else "",
            f"keep_float: {kept}" if kept else "",
        ]
        chosen = "; ".join(filter(None, limits))
        raise QuantizeError(
            f"nothing was quantized: the model's operators are {present}"
            + (f", the options say {chosen}" if chosen else "")
            + "; constant weights and known element types are needed as well"
        )
    return onnx_artifact(parts, producer=producer, options=options)


def describe(path: Path, *, producer: str, options: Mapping[str, JsonValue]) -> Artifact:
    """The file that a quantizer wrote, as it is.

    Raises:
        QuantizeError: it wrote nothing that can be used.
    """
    return onnx_artifact(_written(path), producer=producer, options=options)


def _written(path: Path) -> OnnxParts:
    try:
        return inspect_onnx(path)
    except ModelError as error:
        raise QuantizeError(f"the quantizer left no usable file: {error}") from error


def onnx_artifact(parts: OnnxParts, *, producer: str, options: Mapping[str, JsonValue]) -> Artifact:
    """Describe a candidate by what was found in its file."""
    return Artifact(
        format=Format.ONNX,
        path=parts.path,
        sha256=parts.sha256,
        size_bytes=parts.size_bytes,
        producer=producer,
        options=dict(options),
    )


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder for what lies between the model and the candidate."""
    with tempfile.TemporaryDirectory(prefix="gate-quantize-") as folder:
        yield Path(folder)
