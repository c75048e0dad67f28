"""Every metric that a spec can name: tier, unit, direction, formula and source. Data only.

x is the reference's output, y the candidate's.
"""

from __future__ import annotations

from gate.core.status import Tier
from gate.core.task import CLASSIFICATION, Task
from gate.metrics.metric_info import Direction, MetricInfo
from gate.metrics.task_catalogue import TASK_METRICS

_LOWER, _HIGHER = Direction.LOWER, Direction.HIGHER
_N, _L, _D = Tier.NUMERICAL, Tier.LAYERS, Tier.DEVICE


def _info(  # noqa: PLR0917 - the call is one line of a table
    tier: Tier,
    name: str,
    unit: str,
    direction: Direction,
    subject: str,
    formula: str,
    source: str = "",
    *,
    has_reference: bool = False,
    has_interval: bool = False,
    tasks: frozenset[Task] = frozenset(),
) -> MetricInfo:
    return MetricInfo(
        tier=tier,
        name=name,
        unit=unit,
        direction=direction,
        subject=subject,
        formula=formula,
        source=source,
        has_reference=has_reference,
        has_interval=has_interval,
        tasks=tasks,
    )


CATALOGUE: tuple[MetricInfo, ...] = (
    _info(_N, "finite", "bool", _HIGHER, "output", "no NaN and no infinity in the candidate"),
    _info(_N, "relative_mse", "%", _LOWER, "output", "100 mean((x - y)^2) / var(x)"),
    _info(_N, "sqnr", "dB", _HIGHER, "output", "20 log10(||x|| / ||x - y||)"),
    _info(_N, "cosine", "", _HIGHER, "output", "<x, y> / (||x|| ||y||)"),
    _info(_N, "max_abs_error", "", _LOWER, "output", "max |x - y|"),
    _info(
        _N,
        "worst_channel_nmse",
        "%",
        _LOWER,
        "output",
        "max over channels c of 100 mean_c((x - y)^2) / (var_c(x) + 0.05 var(x))",
    ),
    _info(
        _N,
        "kl_divergence",
        "nat",
        _LOWER,
        "output",
        "mean over samples of KL(softmax(x) || softmax(y))",
        "Kullback and Leibler 1951",
    ),
    _info(_N, "top1_agreement", "%", _HIGHER, "output", "100 mean(argmax x = argmax y)"),
    _info(
        _L,
        "shapes",
        "bool",
        _HIGHER,
        "layer",
        "input and output shapes equal the matched reference layer's, and the baseline's",
    ),
    _info(
        _L,
        "qparams",
        "bool",
        _HIGHER,
        "layer",
        "scales finite and positive, one a channel; zero points within the type's range",
    ),
    _info(
        _L,
        "quantized_ops",
        "%",
        _HIGHER,
        "case",
        "100 (computing layers in integers) / (computing layers)",
    ),
    _info(_L, "int8_params", "%", _HIGHER, "case", "100 (weights in <= 8 bits) / (weights)"),
    _info(_L, "int8_macs", "%", _HIGHER, "case", "100 (MACs in integers) / (MACs)"),
    _info(
        _L,
        "weight_bits",
        "",
        _LOWER,
        "case",
        "bits a weight, at the width of its type and with its share of scales and zero points; files"
        " and memory may hold a byte for each weight of fewer bits",
    ),
    _info(
        _L, "float_layers", "", _LOWER, "case", "number of computing layers left in floating point"
    ),
    _info(_L, "sqnr", "dB", _HIGHER, "layer", "20 log10(||x|| / ||x - y||) of the layer's output"),
    _info(
        _L,
        "worst_channel_nmse",
        "%",
        _LOWER,
        "layer",
        "max over channels c of 100 mean_c((x - y)^2) / (var_c(x) + 0.05 var(x))",
    ),
    _info(
        _L,
        "bias",
        "%",
        _LOWER,
        "layer",
        "100 |mean(y - x)| / std(x): an offset that noise would not leave",
    ),
    _info(
        _L,
        "isolated_sqnr",
        "dB",
        _HIGHER,
        "layer",
        "sqnr of the layer run alone on the reference's inputs to it",
    ),
    _info(
        _L,
        "isolated_worst_channel_nmse",
        "%",
        _LOWER,
        "layer",
        "worst_channel_nmse of the layer run alone on the reference's inputs to it",
    ),
    _info(
        _L,
        "sparsity_2_4",
        "%",
        _HIGHER,
        "layer",
        "100 (groups of four consecutive input channels with at least two zeros) / (groups), of each"
        " computing layer whose input channels are a multiple of four; no value where its weights"
        " cannot be read",
        "Mishra et al. 2021",
    ),
    _info(
        _D,
        "top1",
        "%",
        _HIGHER,
        "case",
        "100 mean(argmax y = label)",
        has_reference=True,
    ),
    _info(
        _D,
        "top5",
        "%",
        _HIGHER,
        "case",
        "100 mean(label in top 5 of y)",
        has_reference=True,
    ),
    _info(
        _D,
        "top1_drop",
        "pp",
        _LOWER,
        "case",
        "top-1 of the reference - top-1 of the candidate",
        "interval: Tango 1998, Newcombe 1998 (method 10)",
        has_interval=True,
    ),
    _info(
        _D,
        "top5_drop",
        "pp",
        _LOWER,
        "case",
        "top-5 of the reference - top-5 of the candidate",
        "interval: Tango 1998, Newcombe 1998 (method 10)",
        has_interval=True,
    ),
    _info(
        _D,
        "worst_class_drop",
        "pp",
        _LOWER,
        "case",
        "max over classes with at least 10 samples of (top-1 of the reference - top-1 of the candidate)",
        tasks=CLASSIFICATION,
    ),
    _info(
        _D,
        "class_top1",
        "%",
        _HIGHER,
        "class",
        "100 (samples of the class whose arg-max is its label) / (samples of the class)",
        tasks=CLASSIFICATION,
    ),
    _info(
        _D,
        "class_top1_drop",
        "pp",
        _LOWER,
        "class",
        "top-1 of the reference - top-1 of the candidate, over the samples of the class",
        tasks=CLASSIFICATION,
    ),
    _info(
        _D,
        "new_flips",
        "",
        _LOWER,
        "case",
        "number of samples that the reference has right and the candidate wrong (top-1), and that"
        " were not so in the baseline",
    ),
    *TASK_METRICS,
    _info(
        _D,
        "latency_p50",
        "ms",
        _LOWER,
        "case",
        "median wall time of a run, after warm-up",
        has_reference=True,
    ),
    _info(
        _D,
        "latency_p90",
        "ms",
        _LOWER,
        "case",
        "90th percentile of the wall time",
        has_reference=True,
    ),
    _info(
        _D,
        "latency_p99",
        "ms",
        _LOWER,
        "case",
        "99th percentile of the wall time",
        has_reference=True,
    ),
    _info(
        _D,
        "speedup",
        "x",
        _HIGHER,
        "case",
        "median over interleaved rounds of (reference time / candidate time): CPU time at one"
        " thread, wall time at several",
        "Hettmansperger and McKean 2011",
    ),
    _info(
        _D,
        "latency_ratio",
        "x",
        _LOWER,
        "case",
        "1 / speedup: what a baseline keeps for machines that do not have its artifact",
    ),
    _info(
        _D,
        "slowdown",
        "%",
        _LOWER,
        "case",
        "100 (median over interleaved rounds of (candidate CPU time / CPU time of the baseline's"
        " artifact) - 1), both run now",
        "Hettmansperger and McKean 2011",
    ),
    _info(
        _D,
        "throughput",
        "fps",
        _HIGHER,
        "case",
        "timing batch / median wall time",
        has_reference=True,
    ),
    _info(
        _D,
        "size",
        "B",
        _LOWER,
        "case",
        "bytes of the model on disk, external data included",
        has_reference=True,
    ),
    _info(_D, "size_ratio", "x", _HIGHER, "case", "reference size / candidate size"),
    _info(
        _D,
        "packed_size",
        "B",
        _LOWER,
        "case",
        "bytes of the weights as the runtime holds them",
        has_reference=True,
    ),
    _info(
        _D,
        "activation_memory",
        "B",
        _LOWER,
        "case",
        "most bytes of activations alive at one layer, for one sample, as the model stores them",
        has_reference=True,
    ),
    _info(
        _D,
        "peak_memory",
        "B",
        _LOWER,
        "case",
        "largest resident set of a process that opens and runs only the candidate",
    ),
    _info(
        _D,
        "load_time",
        "ms",
        _LOWER,
        "case",
        "wall time from the file to the end of the first run; the shortest of five, or of as many as"
        " begin within 0.25 s",
        has_reference=True,
    ),
    _info(
        _D,
        "load_cpu",
        "ms",
        _LOWER,
        "case",
        "CPU time of the process for the same, which other load hardly changes; sees no waiting",
        has_reference=True,
    ),
)

__all__ = ["BY_NAME", "CATALOGUE", "Direction", "MetricInfo", "task_metrics"]

BY_NAME: dict[tuple[Tier, str], MetricInfo] = {(info.tier, info.name): info for info in CATALOGUE}


def task_metrics(task: str) -> tuple[MetricInfo, ...]:
    """Metrics that this task has and not every other, in the catalogue's order."""
    return tuple(info for info in CATALOGUE if task in info.tasks)
