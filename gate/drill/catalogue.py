"""All faults of the drill. Data only: imports no framework and no injector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from gate.core.status import Tier
from gate.drill.base import Family, Fault, Point

_N, _L, _D = Tier.NUMERICAL, Tier.LAYERS, Tier.DEVICE


def _family(
    family: Family, point: Point, lines: Iterable[tuple[str, str, tuple[Tier, ...], dict[str, Any]]]
) -> list[Fault]:
    return [
        Fault(
            name=name,
            family=family,
            summary=summary,
            tiers=tiers,
            **{
                "point": point,
                "has_layer": point == "artifact",
                "changes": "cost" if point == "runtime" else "outputs",
                **more,
            },
        )
        for name, summary, tiers, more in lines
    ]


_WHOLE: dict[str, Any] = {"has_layer": False}
_BUILT: dict[str, Any] = {"changes": "structure"}

_WEIGHTS = _family(
    "weights",
    "artifact",
    [
        ("scale_x1_05", "weights dequantized with a scale 5 % too large", (_N, _L), {}),
        ("scales_shuffled", "scales a channel in another order than the channels", (_N, _L), {}),
        ("scale_of_one_channel", "the scale of one output channel halved", (_N, _L), {}),
        ("wrong_axis", "scales a channel applied along the input channels", (_N, _L), {}),
        (
            "wrong_axis_in_the_file",
            "the file says that scales go along the input channels; the runtime may not care",
            (_L,),
            _BUILT,
        ),
        ("channel_zeroed", "all weights of one output channel lost", (_N, _L), {}),
        ("channel_negated", "the sign of one output channel's weights flipped", (_N, _L), {}),
        ("weight_transposed", "a square weight with inputs and outputs exchanged", (_N, _L), {}),
        ("int4", "weights in 4 bits where 8 were agreed", (_N, _L), {}),
        (
            "per_tensor",
            "one scale for the whole weight where one a channel was agreed",
            (_N, _L),
            {},
        ),
        ("bias_dropped", "the bias lost", (_N, _L), {}),
        ("bias_scaled", "the bias stored for an input scale half as large", (_N, _L), {}),
        ("channels_swapped", "two output channels exchanged", (_N, _L), {}),
        ("gates_reordered", "two gates of a recurrent cell exchanged", (_N, _L), {}),
        ("kernel_flipped", "kernels mirrored: correlation taken for convolution", (_N, _L), {}),
        ("weight_zero_point_off", "the zero point of the weights off by one", (_N, _L), {}),
        ("weight_scale_nan", "one scale of the weights is NaN", (_N, _L), {}),
    ],
)

_ACTIVATIONS = _family(
    "activations",
    "artifact",
    [
        ("zero_point_off_by_1", "the input read with a zero point off by 1", (_N, _L), {}),
        ("zero_point_off_by_4", "the input read with a zero point off by 4", (_N, _L), {}),
        ("zero_point_ignored", "the zero point of the input taken for 0", (_N, _L), {}),
        ("range_halved", "the output's range half as wide as its values: clipped", (_N, _L), {}),
        ("range_x8", "the output's range 8 times as wide as its values: 3 bits lost", (_N, _L), {}),
        ("rounding_truncates", "the output truncated where it should be rounded", (_N, _L), {}),
        ("sign_confused", "stored uint8 read as int8", (_N, _L), {"source": "executorch#20491"}),
        ("requantize_scale", "the output stored with a scale 10 % off the one it is read with", (_N, _L), {}),
        ("clipped_at_6", "the output clipped at 6: ReLU6 in place of ReLU", (_N, _L), {}),
        (
            "saturating_pairs",
            "16-bit sums of pairs of products saturate, as vpmaddubsw without VNNI",
            (_N, _L),
            {"source": "pytorch#44939, FBGEMM#125, onnxruntime#6004"},
        ),
        ("output_nan", "the last scale is NaN", (_N,), _WHOLE),
    ],
)  # fmt: skip

_STRUCTURE = _family(
    "structure",
    "artifact",
    [
        ("layer_in_float", "one layer left in floating point", (_L,), _BUILT),
        ("op_type_in_float", "all layers of one operator left in floating point", (_L,), {**_WHOLE, **_BUILT}),
        ("op_fallback", "one operator between integers falls back to floating point", (_L,), _BUILT),
        ("bn_folded_twice", "batch norm folded into the weights twice", (_N, _L), {"source": "ao#2795"}),
        ("bn_folded_wrong_axis", "batch norm folded along the input channels", (_N, _L), {"source": "ao#4242"}),
        ("padding_with_zero", "the border padded with code 0 rather than the zero point", (_N, _L), {"source": "executorch#13576"}),
        ("padding_shifted", "the border on the other side: SAME_UPPER for SAME_LOWER", (_N, _L), {"source": "executorch#20558"}),
        ("stride_changed", "a stride doubled: another output shape", (_L,), {"stops": True}),
        ("output_shape", "the last column of the output cut off", (_N, _L), {**_WHOLE, "stops": True}),
        ("layout_at_flatten", "channels taken to be last where the tensor is flattened", (_N, _L), {}),
        ("layout_at_input", "the input read as channels last", (_N, _L), _WHOLE),
        ("residual_dropped", "a residual sum without one of its terms", (_N, _L), {}),
        ("activation_removed", "an activation lost", (_N, _L), {}),
        ("output_transposed", "a layer's output written with its last axes exchanged", (_N, _L), {"source": "executorch#21752"}),
        ("layers_swapped", "the parameters of two layers of one shape exchanged", (_N, _L), {}),
        ("layer_repeated", "one layer applied twice", (_N, _L), {}),
    ],
)  # fmt: skip

_CALIBRATION = _family(
    "calibration",
    "quantize",
    [
        ("calibration_constant", "calibrated on images of one grey", (_N, _L), {}),
        ("calibration_tiny", "calibrated on one sample", (_N, _L), {}),
        ("calibration_unscaled", "calibrated without the normalisation", (_N, _L), {}),
        ("calibration_bgr", "calibrated with the colour channels in reverse", (_N, _L), {}),
        ("calibration_one_class", "calibrated on samples of one class", (_N, _L), {}),
        ("calibration_outlier", "one calibration sample a hundred times too bright", (_N, _L), {}),
    ],
)

_DATA = _family(
    "data",
    "data",
    [
        ("labels_shuffled", "a tenth of the labels given to other samples", (_D,), {}),
        ("labels_off_by_one", "labels count from one", (_D,), {}),
        ("other_decoder", "images decoded by another JPEG decoder", (_N, _D), {"silent": True}),
        ("other_interpolation", "images resized by another filter", (_N, _D), {"silent": True}),
        ("evaluation_bgr", "colour channels in reverse", (_N, _D), {"silent": True}),
        ("evaluation_unscaled", "the normalisation forgotten", (_N, _D), {"silent": True}),
    ],
)

_RUNTIME = _family(
    "runtime",
    "runtime",
    [
        ("latency_5_percent", "each run does 5 % more work", (_D,), {}),
        ("latency_10_percent", "each run does 10 % more work", (_D,), {}),
        ("sleep", "each run waits for as long as it works", (_D,), {}),
        ("threads", "runs with another number of threads than it says", (_D,), {}),
        ("memory_leak", "each run keeps 1 MiB", (_D,), {}),
        ("memory_held", "an opened model holds 64 MiB more", (_D,), {}),
        ("slow_load", "the file is read and prepared three times", (_D,), {}),
        (
            "float_weights_kept",
            "float weights left in the file beside the integer ones",
            (_D,),
            {
                "point": "artifact",
                "changes": "cost",
                "has_layer": False,
                "source": "torch-xpu-ops#1684",
            },
        ),
    ],
)

_VERSION = _family(
    "version",
    "artifact",
    [
        ("ranges_to_integers", "observed ranges cast to integers", (_N, _L), {**_WHOLE, "source": "pytorch#83672"}),
        ("transposed_conv_axis", "scales of a transposed convolution along the wrong axis", (_N, _L), {"source": "onnxruntime#19694, #13038"}),
        ("dequantized_to_zeros", "a layer's output comes back as zeros", (_N, _L), {"source": "executorch#16429"}),
        ("wrong_at_padded_edges", "requantized wrongly along padded borders only", (_N, _L), {"source": "tvm#13364"}),
        ("wrong_at_batch_1", "wrong by 46 % for a batch of one only", (_N, _L), {"source": "onnxruntime#29853"}),
        ("nothing_quantized", "every layer in floating point", (_L,), {**_WHOLE, **_BUILT, "source": "executorch#22069, torch-xpu-ops#1717"}),
        ("borders_in_float", "first and last layer left in floating point", (_L,), {**_WHOLE, **_BUILT, "source": "executorch#20291"}),
        ("quantized_at_load", "weights stored in floating point, quantized when the file is opened", (_D,), {**_WHOLE, "changes": "cost", "source": "torch-xpu-ops#1684"}),
        ("rounded_twice", "a layer's output rounded to a coarser grid on the way", (_N, _L), {"source": "onnxruntime#11576"}),
        ("one_range_for_all", "all activations in the range of the widest", (_N, _L), {**_WHOLE, "source": "mobilenet_v3_small, PT2E"}),
        ("weights_in_7_bits", "weights in 7 bits: the range reduced unasked", (_N, _L), {"point": "quantize", "has_layer": False, "source": "ao#4326"}),
        ("float_model_broken", "the floating-point model itself is wrong, and so is what is made of it", (_N, _D), {"point": "reference", "has_layer": False, "source": "torch-xpu-ops#3792"}),
    ],
)  # fmt: skip

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        fault.name: fault
        for fault in (
            *_WEIGHTS,
            *_ACTIVATIONS,
            *_STRUCTURE,
            *_CALIBRATION,
            *_DATA,
            *_RUNTIME,
            *_VERSION,
        )
    }
)
"""Name -> fault, by family."""
