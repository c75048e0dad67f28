"""Per-layer facts: what a layer is, and how far the candidate's output is from the reference's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Shape and element type of one tensor as it was seen in a run."""

    shape: tuple[int, ...]
    dtype: str
    """NumPy-style name: ``float32``, ``uint8``, ``int8`` ... (of storage, for quantized tensors)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QParams:
    """Affine quantization parameters: ``real = scale * (stored - zero_point)``."""

    dtype: str
    scheme: str
    """``per-tensor-affine``, ``per-tensor-symmetric``, ``per-channel-affine``, ``per-channel-symmetric``,
    or ``per-block-32-symmetric``: a scale for each 32 elements of a channel."""
    axis: int | None
    """Channel axis of a per-channel or per-block scheme, else None."""
    scales: tuple[float, ...]
    """One value, or one a channel; of a per-block scheme that of the channel's block with the largest
    scale, or of its first block whose scale is not finite. Those may be negative, or zero."""
    zero_points: tuple[int, ...]
    """One value, or one a channel; of a per-block scheme those of the same blocks."""
    channels: int | None = None
    """Size of the tensor along ``axis``: the number of scales that there should be."""
    output_axis: int | None = None
    """Of a weight: the axis of the layer's output channels, the only one along which kernels take
    scales a channel; None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer of an opened model, as its session reports it."""

    name: str
    """Stable name: module path in torch, node name in ONNX."""
    op: str
    """Operator type as the runtime names it: ``Conv2d``, ``QuantizedConvReLU2d``, ``QLinearConv`` ..."""
    computes: bool
    """True where the layer has arithmetic that a quantizer is expected to take to integers
    (convolution, matrix product, recurrent cell); False for reshapes, activations, pooling ..."""
    quantized: bool
    """True where the arithmetic (or, for data movement, the data) is in integers."""
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weight: QParams | None = None
    output: QParams | None = None
    params: int = 0
    """Weight elements (bias excluded)."""
    params_quantized: int = 0
    """Weight elements stored in 8 bits or less."""
    params_half: int = 0
    """Weight elements that a quantizer took to 16 bits of floating point."""
    macs: int = 0
    """Multiply-accumulates for one sample."""
    covers: tuple[str, ...] = ()
    """Reference layers that this one stands for when fused or renamed, in order of execution
    (``("conv1", "bn1", "relu")``); empty where it stands for the reference layer of the same name."""
    groups_of_four: int = 0
    """Groups of four weights of consecutive input channels, of a computing layer whose input channels
    are a multiple of four."""
    groups_sparse: int = 0
    """Those of them with two zeros or more: the 2:4 pattern that sparse kernels take."""
    groups_unknown: str = ""
    """Why the groups of a computing layer cannot be told; empty where they can be, or where it has none."""
    capture: str | None = None
    """Name under which ``Session.capture`` streams its output; None where it cannot be observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSums:
    """Mergeable sums over finite element pairs of a reference x and a candidate y.

    Everything that the elementwise metrics need; adding two of them gives what one pass over
    both parts would have given.
    """

    elements: int = 0
    """Pairs that entered the sums."""
    nonfinite_reference: int = 0
    nonfinite_candidate: int = 0
    sum_x: float = 0.0
    sum_x2: float = 0.0
    sum_y: float = 0.0
    sum_y2: float = 0.0
    sum_xy: float = 0.0
    sum_err2: float = 0.0
    max_abs_error: float = 0.0
    channel_axis: int | None = None
    channel_elements: int = 0
    """Pairs a channel."""
    channel_sum_x: tuple[float, ...] = ()
    channel_sum_x2: tuple[float, ...] = ()
    channel_sum_err2: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMatch:
    """A candidate layer and the reference layers that it was matched with."""

    candidate: str
    reference: tuple[str, ...]
    """The covered reference layers; the last one's output is what is compared."""
    rule: str
    """How the match was made: ``name``, ``fused``, ``renamed``."""
    errors: ErrorSums | None = None
    """Output errors; None where an output could not be observed or the shapes differ."""
    isolated: ErrorSums | None = None
    """Output errors of the candidate layer run alone on the reference's own inputs to it; None
    where it could not be."""
    why_not_isolated: str = ""
    """Set where ``isolated`` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFloat:
    """A weight that the candidate holds in floating point without need."""

    name: str
    size_bytes: int
    stored: str = ""
    """The stored weight that it equals as nearly as storage can; empty where there is none."""
    unread: bool = False
    """Whether nothing computes with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersObserved:
    """Everything that the layers tier saw."""

    reference: tuple[LayerRow, ...]
    candidate: tuple[LayerRow, ...]
    matches: tuple[LayerMatch, ...]
    """In order of execution of the candidate."""
    unmatched_reference: tuple[str, ...]
    """Reference layers that no candidate layer stands for."""
    unmatched_candidate: tuple[str, ...]
    """Candidate layers (other than quantize/dequantize) with no counterpart."""
    samples: int
    """Samples the layer errors were summed over."""
    kept_float: tuple[KeptFloat, ...] | None = None
    """Weights that the candidate keeps in floating point beside those that it computes with; None where
    the backend does not tell."""
