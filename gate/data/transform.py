"""Carries out a declared preprocessing and checks the result against the model's input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gate.core.spec import InputSpec, Options
from gate.core.tensors import Array
from gate.data.base import DataError
from gate.data.preprocess import ARRAY_KEYS, IMAGE_KEYS


class Preprocessor:
    """``preprocess`` options made callable for the inputs of one model.

    Raises:
        DataError: the options cannot apply to the model's inputs.
    """

    def __init__(self, options: Options, inputs: Mapping[str, InputSpec]) -> None:
        if not inputs:
            raise DataError("the model declares no input: there is nothing to feed")
        if len(inputs) > 1 and options:
            raise DataError(
                f"preprocess applies to models with one input, this one has {', '.join(inputs)}: "
                "let the data source yield the inputs as the model takes them"
            )
        self._options = options
        self._inputs = inputs

    def __call__(self, raw: Any) -> dict[str, Array]:
        """Turn one raw sample into the model's inputs, each without a batch axis.

        Raises:
            DataError: a key does not fit the kind of sample, an input is missing, or the shape or
                element type of the result is not the model's.
        """
        if isinstance(raw, Mapping):
            if set(raw) != set(self._inputs):
                raise DataError(
                    f"the sample has the inputs {_names(raw)}, the model takes {_names(self._inputs)}"
                )
            return {name: self._one(name, raw[name]) for name in self._inputs}
        if len(self._inputs) > 1:
            raise DataError(
                f"the sample is one {type(raw).__name__}, the model takes {_names(self._inputs)}: "
                "yield a mapping of input names to arrays"
            )
        (name,) = self._inputs
        return {name: self._one(name, raw)}

    def _one(self, name: str, raw: Any) -> Array:
        spec, options = self._inputs[name], self._options
        is_array = isinstance(raw, np.ndarray | np.generic | list | int | float)
        self._check_keys(ARRAY_KEYS if not is_array else IMAGE_KEYS, is_array=is_array)
        channels_last = options.get("layout", "nchw") == "nhwc"
        if is_array:
            array = _arranged(np.asarray(raw), options)
            array = normalise(array, options, channel_axis=-1 if channels_last else 0)
        else:
            # Pillow is needed for images alone.
            from gate.data.image_transform import decoded

            array = normalise(decoded(raw, options), options, channel_axis=-1)
            array = array if channels_last else np.moveaxis(array, -1, 0)
        array = cast(array, str(options.get("dtype", spec.dtype)))
        _check(name, array, spec)
        return np.asarray(array, order="C")

    def _check_keys(self, foreign: frozenset[str], *, is_array: bool) -> None:
        misplaced = sorted(foreign & set(self._options))
        if misplaced:
            has, needs = ("arrays", "images") if is_array else ("images", "arrays")
            raise DataError(
                f"preprocess: {', '.join(misplaced)} is for {needs}, this source yields {has}"
            )


def normalise(array: Array, options: Options, *, channel_axis: int) -> Array:
    """``(array * scale - mean) / std`` in floating point, or ``array`` itself where none of them is given.

    Raises:
        DataError: the number of means or deviations is not the number of channels.
    """
    if not {"scale", "mean", "std"} & set(options):
        return array
    # float32 where it holds every value exactly (up to 16 bits), float64 for wider types.
    result = array.astype(np.result_type(array.dtype, np.float32))
    if "scale" in options:
        np.multiply(result, result.dtype.type(options["scale"]), out=result)
    if "mean" in options:
        np.subtract(result, _by_channel("mean", options["mean"], result, channel_axis), out=result)
    if "std" in options:
        np.divide(result, _by_channel("std", options["std"], result, channel_axis), out=result)
    return result


def cast(array: Array, dtype: str) -> Array:
    """Convert to ``dtype``; to integers by rounding half to even, never by wrapping or clipping.

    Raises:
        DataError: a value does not fit the integer type.
    """
    target = np.dtype(dtype)
    if array.dtype == target:
        return array
    if target.kind in "iu":
        rounded = np.rint(array) if array.dtype.kind == "f" else array
        limits = np.iinfo(target)
        if rounded.size and not (limits.min <= rounded.min() and rounded.max() <= limits.max):
            raise DataError(
                f"preprocess gives values from {rounded.min():g} to {rounded.max():g}, which do not "
                f"fit {dtype}"
            )
        return rounded.astype(target)
    return array.astype(target)


def _arranged(array: Array, options: Options) -> Array:
    try:
        if "reshape" in options:
            array = array.reshape(options["reshape"])
        if "transpose" in options:
            array = array.transpose(options["transpose"])
    except ValueError as error:
        raise DataError(f"preprocess: a sample of shape {list(array.shape)}: {error}") from error
    return array


def _by_channel(key: str, value: Any, array: Array, axis: int) -> Array:
    numbers = np.asarray(value, dtype=array.dtype)
    if numbers.ndim == 0 or numbers.size == 1:
        return numbers.reshape(())
    channels = array.shape[axis] if array.ndim else 1
    if numbers.size != channels:
        raise DataError(f"preprocess: {numbers.size} values of {key} for {channels} channels")
    shape = [1] * array.ndim
    shape[axis] = channels
    return numbers.reshape(shape)


def _check(name: str, array: Array, spec: InputSpec) -> None:
    wanted = spec.shape[1:]
    fits = len(wanted) == array.ndim and all(
        isinstance(want, str) or want == have
        for want, have in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"input '{name}': preprocess gives a sample of shape {list(array.shape)}, the model takes "
            f"{list(wanted)} (after the batch axis)"
        )
    if array.dtype != np.dtype(spec.dtype):
        raise DataError(
            f"input '{name}': preprocess gives {array.dtype}, the model takes {spec.dtype}"
        )


def _names(mapping: Mapping[str, Any]) -> str:
    return ", ".join(sorted(mapping))
