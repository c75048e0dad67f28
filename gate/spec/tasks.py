"""What a spec says about its task: how outputs become answers, and metrics of the user's own."""

from __future__ import annotations

from collections.abc import Mapping as NameMapping

from gate.core.task import CUSTOM, CustomMetric, Task
from gate.metrics.metric_info import Direction, MetricInfo
from gate.metrics.task_catalogue import custom_infos
from gate.spec.entries import ENTRY_PATTERN
from gate.spec.nodes import Mapping, Node, child, plain
from gate.spec.schema_words import Schema, closed, count, named, ref, text

TASKS = tuple(task.value for task in Task)
CUSTOM_UNITS = ("%", "dB", "ms", "B", "x", "nat")
CUSTOM_KEY = CUSTOM.removesuffix(".")
AGGREGATES = ("mean", "ratio")
NEEDS_DECODING = (Task.DETECTION, Task.TRANSCRIPTION)
"""Tasks whose outputs can be read in several ways, none of them the usual one."""

_OUTPUT = {"output": text("the model's output that answers; the first that fits where not given")}


def _share(description: str, default: float) -> Schema:
    return {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "default": default,
        "description": description,
    }


def _choice(description: str, *values: str) -> Schema:
    return {"enum": list(values), "default": values[0], "description": description}


def _detection() -> Schema:
    return closed(
        "how the outputs of a detector become boxes",
        {
            "layout": {
                "enum": ["cxcywh-objectness-classes", "cxcywh-classes", "boxes-scores-classes"],
                "description": (
                    "columns of one output (batch, boxes, columns), as in YOLOv5 and YOLOv8, which "
                    "the gate filters and suppresses; or outputs that are detections already"
                ),
            },
            **_OUTPUT,
            "outputs": closed(
                "boxes-scores-classes: the names of the three outputs",
                {key: text("its name") for key in ("boxes", "scores", "classes")},
                required=("boxes", "scores", "classes"),
            ),
            "transposed": {
                "type": "boolean",
                "default": False,
                "description": "the output is (batch, columns, boxes)",
            },
            "corners": _choice("order of the corners of boxes-scores-classes", "xyxy", "yxyx"),
            "coordinates": _choice(
                "shares of the image, or pixels of the model's input", "normalised", "pixels"
            ),
            "labels": _choice(
                "whether a box may be of several classes, or of its best alone", "several", "best"
            ),
            "confidence": _share("boxes of a lower score are left out", 0.001),
            "overlap": _share("IoU beyond which the weaker box of a class is suppressed", 0.6),
            "max_detections": count("best boxes of an image that are kept", 1, 100),
            "first_class": count("what the model calls the class that the truth calls 0", 0, 0),
        },
        required=("layout",),
    )


def _transcription() -> Schema:
    return closed(
        "how the output of a recogniser becomes a text",
        {
            "decoder": _choice(
                "ctc-greedy: best symbol a step, repeats and blanks removed; greedy: best symbol a step",
                "ctc-greedy",
                "greedy",
            ),
            "alphabet": {
                "type": ["string", "array"],
                "title": "a string or a list of strings",
                "minLength": 1,
                "minItems": 1,
                "items": {"type": "string"},
                "description": "what each index stands for; of a string, its characters",
            },
            "blank": count("ctc-greedy: index of the blank, which the alphabet counts", 0, 0),
            "end": count("greedy: index that ends the text"),
            "lowercase": {
                "type": "boolean",
                "default": False,
                "description": "compare without regard to case",
            },
            **_OUTPUT,
        },
        required=("alphabet",),
    )


DECODINGS: dict[Task, Schema] = {
    Task.DETECTION: _detection(),
    Task.SEGMENTATION: closed(
        "how the output becomes a class for each pixel",
        {
            "layout": _choice("where the classes are: second or last axis", "nchw", "nhwc"),
            "ignore": count("value of the mask that is not counted", 0, 255),
            **_OUTPUT,
        },
    ),
    Task.TRANSCRIPTION: _transcription(),
    Task.LANGUAGE_MODELING: closed(
        "which tokens are predicted",
        {
            "ignore": {
                "type": "integer",
                "default": -100,
                "description": "token that is not counted",
            },
            **_OUTPUT,
        },
    ),
    Task.VERIFICATION: closed(
        "how embeddings are compared",
        {
            "similarity": _choice("of two embeddings", "cosine", "euclidean"),
            "trials": count("pairs at most, drawn where there are more", 2, 20000),
            "seed": count("of the draw", 0, 0),
            **_OUTPUT,
        },
    ),
    Task.ANOMALY_DETECTION: closed(
        "how the output becomes a score",
        {
            "score": _choice(
                "the output itself, or the mean squared difference between output and input",
                "output",
                "reconstruction",
            ),
            "higher": _choice("what a higher score means", "anomalous", "normal"),
            **_OUTPUT,
        },
    ),
    Task.REGRESSION: closed("which output is the answer", {**_OUTPUT}),
}
"""Task -> schema of ``model.decoding``; the others have none."""


def decoding_definitions() -> dict[str, Schema]:
    """``decoding-TASK`` for every task that has one."""
    return {f"decoding-{task.value}": schema for task, schema in DECODINGS.items()}


def decoding_choice() -> list[Schema]:
    """Conditions of ``model``: the decoding that belongs to its task."""
    return [
        {
            "if": {"properties": {"task": {"const": task.value}}, "required": ["task"]},
            "then": {
                "properties": {"decoding": ref(f"decoding-{task.value}")},
                **({"required": ["decoding"]} if task in NEEDS_DECODING else {}),
            },
        }
        for task in DECODINGS
    ]


def metrics_schema() -> Schema:
    """Schema of the metrics that a spec declares itself."""
    return named(
        "metrics of your own, demanded under tolerances.device.custom",
        closed(
            "one metric",
            {
                "entry": {
                    "type": "string",
                    "pattern": ENTRY_PATTERN,
                    "description": (
                        "callable of a trusted module; gets outputs by name, truths and inputs of a "
                        "batch, gives one number a sample, or two with aggregate: ratio"
                    ),
                },
                "unit": {
                    "enum": list(CUSTOM_UNITS),
                    "description": "unit of the numbers; none where not given",
                },
                "direction": {
                    "enum": [direction.value for direction in Direction],
                    "description": "which way is better",
                },
                "aggregate": _choice(
                    "the mean over samples, or the sum of the first number by that of the second",
                    *AGGREGATES,
                ),
            },
            required=("entry", "direction"),
        ),
    )


def custom_bounds() -> Schema:
    """Schema of ``tolerances.device.custom``; the bounds' text is read by the grammar."""
    bound: Schema = {
        "type": ["string", "array", "object"],
        "title": "a tolerance, a mapping or a list",
    }
    return named("bounds on metrics that the spec declares, and on their NAME_drop", bound)


def custom_metrics(root: Node) -> tuple[CustomMetric, ...]:
    """Metrics that the document declares; what is malformed is the schema's to say."""
    declared = child(root, "metrics")
    found = []
    for name, node in declared.entries.items() if isinstance(declared, Mapping) else ():
        content = plain(node)
        if not isinstance(content, dict):
            continue
        unit, direction = content.get("unit", ""), content.get("direction")
        if unit not in ("", *CUSTOM_UNITS) or direction not in tuple(Direction):
            continue
        found.append(
            CustomMetric(
                name=name,
                entry=str(content.get("entry", "")),
                unit=unit,
                direction=direction,
                aggregate=str(content.get("aggregate", AGGREGATES[0])),
            )
        )
    return tuple(found)


def custom_table(root: Node) -> NameMapping[str, MetricInfo]:
    """Name under ``tolerances.device.custom`` -> what is known of it."""
    infos = [info for metric in custom_metrics(root) for info in custom_infos(metric)]
    return {info.name.removeprefix(CUSTOM): info for info in infos}
