from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import top_k_accuracy_score

from gate.core.layer import ErrorSums
from gate.data.base import Batch, DataError
from gate.metrics.elementwise import relative_mse_percent, worst_channel_nmse_percent
from gate.tiers.numerical import NumericalObserved, OutputError, observe_numerical

Floats = NDArray[np.float32]
SAMPLES, CLASSES = 50, 8
RNG = np.random.default_rng(0)
X = RNG.standard_normal((SAMPLES, CLASSES)).astype(np.float32)
Y = (X + 0.5 * RNG.standard_normal(X.shape)).astype(np.float32)
LABELS = RNG.integers(0, CLASSES, SAMPLES)


def batches(size: int, labels: NDArray[np.int64] | None = LABELS) -> Iterator[Batch]:
    for start in range(0, SAMPLES, size):
        indices = tuple(range(start, min(start + size, SAMPLES)))
        yield Batch(
            inputs={"index": np.array(indices)},
            labels=labels[list(indices)] if labels is not None else None,
            indices=indices,
        )


def look_up(outputs: Mapping[str, NDArray[np.generic]]):
    """A model that knows its answers."""
    return lambda inputs: {name: value[inputs["index"]] for name, value in outputs.items()}


def observed(
    reference: Mapping[str, NDArray[np.generic]],
    candidate: Mapping[str, NDArray[np.generic]],
    *,
    size: int = 16,
    labels: NDArray[np.int64] | None = LABELS,
    classification: bool = True,
) -> NumericalObserved:
    return observe_numerical(
        batches(size, labels),
        reference=look_up(reference),
        candidate=look_up(candidate),
        classification=classification,
        tick=lambda _done: None,
    )


@pytest.mark.parametrize("size", [1, 7, 16, 50, 64])
def test_figures_agree_with_other_libraries_whatever_the_batch(size: int) -> None:
    seen = observed({"output": X}, {"output": Y}, size=size)
    output = seen.outputs["output"]
    assert output.samples == seen.samples == SAMPLES
    expected = 100 * np.mean((X.astype(float) - Y) ** 2) / np.var(X.astype(float))
    assert relative_mse_percent(output.errors) == pytest.approx(expected, rel=1e-9)
    kl = torch.nn.functional.kl_div(
        torch.log_softmax(torch.from_numpy(Y).double(), 1),
        torch.log_softmax(torch.from_numpy(X).double(), 1),
        log_target=True,
        reduction="sum",
    )
    assert output.kl_sum_nats == pytest.approx(float(kl), rel=1e-9)
    assert output.agreement is not None
    assert output.agreement.count("1") == int((X.argmax(1) == Y.argmax(1)).sum())
    assert seen.task is not None
    for side, k, bits in (
        (X, 1, seen.task.reference_top1),
        (Y, 1, seen.task.candidate_top1),
        (X, 5, seen.task.reference_top5),
        (Y, 5, seen.task.candidate_top5),
    ):
        assert bits is not None
        right = top_k_accuracy_score(LABELS, side, k=k, normalize=False, labels=np.arange(CLASSES))
        assert (len(bits), bits.count("1")) == (SAMPLES, right)


def test_the_pin_is_that_of_the_bytes_whatever_the_batch() -> None:
    outputs = {"b": X, "a": np.ascontiguousarray(Y[:, :3])}
    pins = {observed(outputs, outputs, size=size).pin.output_sha256 for size in (1, 7, 50)}
    parts = "".join(
        f"{name}:{hashlib.sha256(outputs[name].tobytes()).hexdigest()};" for name in ("a", "b")
    )
    assert pins == {hashlib.sha256(parts.encode()).hexdigest()}
    pin = observed(outputs, outputs).pin
    assert pin.output_rms["b"] == pytest.approx(float(np.sqrt(np.mean(X.astype(float) ** 2))))
    assert pin.top1_correct == int((X.argmax(1) == LABELS).sum())
    assert pin.samples == SAMPLES


def test_one_changed_bit_of_the_reference_changes_the_pin() -> None:
    other = X.copy()
    other[-1, -1] = np.nextafter(other[-1, -1], np.float32(9))
    before, after = (observed({"o": x}, {"o": Y}).pin.output_sha256 for x in (X, other))
    assert before != after


def test_a_wrong_shape_is_a_fact_and_ends_nothing() -> None:
    seen = observed({"output": X}, {"output": Y[:, :5]})
    output = seen.outputs["output"]
    assert (output.reference.shape, output.candidate.shape) == ((8,), (5,))
    assert output.errors == ErrorSums()
    assert (output.samples, output.kl_sum_nats, output.agreement) == (0, None, None)
    assert seen.task is None
    assert any("task accuracy not measured" in note for note in seen.notes)
    assert seen.samples == SAMPLES
    assert seen.pin.top1_correct is not None


def test_a_wrong_batch_axis_cannot_look_like_the_right_shape() -> None:
    seen = observe_numerical(
        batches(10),
        reference=look_up({"output": X}),
        candidate=lambda _inputs: {"output": Y[:1]},
        classification=True,
        tick=lambda _done: None,
    )
    output = seen.outputs["output"]
    assert output.candidate.shape == (1, 8)
    assert output.errors.elements == 0


def test_a_shape_that_goes_wrong_in_the_last_batch_spoils_the_output() -> None:
    def candidate(inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, Floats]:
        index = inputs["index"]
        return {"output": Y[index][:, : 8 if index[0] < 40 else 7]}

    seen = observe_numerical(
        batches(10),
        reference=look_up({"output": X}),
        candidate=candidate,
        classification=True,
        tick=lambda _done: None,
    )
    assert seen.outputs["output"].candidate.shape == (7,)
    assert seen.outputs["output"].errors == ErrorSums()
    assert seen.task is None


def test_missing_and_additional_outputs_are_named() -> None:
    seen = observed({"a": X, "b": Y}, {"a": X, "c": Y})
    assert seen.missing_outputs == ("b",)
    assert tuple(seen.outputs) == ("a",)
    assert any("does not have: c" in note for note in seen.notes)


def test_single_outputs_of_other_names_are_paired_and_said() -> None:
    seen = observed({"output": X}, {"logits": Y})
    assert seen.missing_outputs == ()
    assert seen.outputs["output"].errors.elements == X.size
    assert any("'logits'" in note for note in seen.notes)
    assert seen.task is not None
    assert seen.task.candidate_top1.count("1") == int((Y.argmax(1) == LABELS).sum())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_never_right(value: float) -> None:
    damaged = Y.copy()
    damaged[3] = value
    seen = observed({"output": X}, {"output": damaged}, size=7)
    output = seen.outputs["output"]
    assert output.errors.nonfinite_candidate == CLASSES
    assert output.errors.elements == X.size - CLASSES
    assert output.kl_sum_nats is None
    assert output.agreement is not None
    assert len(output.agreement) == SAMPLES
    if np.isnan(value):
        assert output.agreement[3] == "0"
        assert seen.task is not None
        assert seen.task.candidate_top1[3] == "0"


def test_a_damaged_reference_still_gives_a_pin() -> None:
    damaged = X.copy()
    damaged[0, 0] = np.nan
    seen = observed({"output": damaged}, {"output": Y})
    assert seen.outputs["output"].errors.nonfinite_reference == 1
    assert np.isfinite(seen.pin.output_rms["output"])


def test_without_classes_there_is_neither_divergence_nor_task() -> None:
    for seen in (
        observed({"output": X}, {"output": Y}, classification=False),
        observed({"output": X[:, :, None]}, {"output": Y[:, :, None]}),
    ):
        assert seen.outputs["output"].kl_sum_nats is None
        assert seen.task is None


def test_without_labels_there_is_divergence_but_no_task() -> None:
    seen = observed({"output": X}, {"output": Y}, labels=None)
    assert seen.outputs["output"].kl_sum_nats is not None
    assert seen.task is None
    assert seen.pin.top1_correct is None


def test_few_classes_have_no_top_five() -> None:
    seen = observed({"output": X[:, :5]}, {"output": Y[:, :5]}, labels=LABELS % 5)
    assert seen.task is not None
    assert seen.task.reference_top5 is None


def test_labels_outside_the_classes_are_refused() -> None:
    with pytest.raises(DataError, match="labels from 0 to 8"):
        observed({"output": X}, {"output": Y}, labels=np.where(LABELS == 1, 8, LABELS))


def test_a_reference_without_a_batch_axis_is_refused() -> None:
    with pytest.raises(OutputError, match="first axis must be the batch"):
        observe_numerical(
            batches(10),
            reference=lambda _inputs: {"output": X[:3]},
            candidate=look_up({"output": Y}),
            classification=True,
            tick=lambda _done: None,
        )


def test_no_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="no sample"):
        observe_numerical(
            [],
            reference=look_up({"output": X}),
            candidate=look_up({"output": Y}),
            classification=True,
            tick=lambda _done: None,
        )


def growing(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
    """As many columns as the last sample's index says: positions, not classes."""
    index = inputs["index"]
    return {"output": np.add.outer(index, np.arange(index[-1] + 2)).astype(np.float32)}


def test_an_axis_that_changes_between_batches_has_no_channels() -> None:
    def candidate(inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        return {"output": growing(inputs)["output"] + np.float32(0.5)}

    seen = observe_numerical(
        batches(16, None),
        reference=growing,
        candidate=candidate,
        classification=False,
        tick=lambda _done: None,
    )
    x = np.concatenate([growing(batch.inputs)["output"].ravel() for batch in batches(16)])
    errors = seen.outputs["output"].errors
    assert errors.elements == x.size
    assert errors.sum_x == pytest.approx(x.astype(np.float64).sum())
    assert errors.sum_err2 == pytest.approx(0.25 * x.size)
    assert errors.channel_sum_x == ()
    assert worst_channel_nmse_percent(errors) == pytest.approx(25.0 / (x.var() * 1.05))


def test_classes_that_change_between_batches_are_refused() -> None:
    with pytest.raises(
        OutputError, match=r"17 classes in the first batch.*\[16, 33\].*task: other"
    ):
        observe_numerical(
            batches(16, np.zeros(SAMPLES, dtype=np.int64)),
            reference=growing,
            candidate=growing,
            classification=True,
            tick=lambda _done: None,
        )
