"""Transcription and language modelling: errors of words and characters, likelihood of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gate.core.spec import Options
from gate.core.task import Task
from gate.core.tensors import Array, TensorMap
from gate.data.base import DataError, Truth
from gate.tiers.task import Facts, Labelled, TaskScorer, UnscorableError, arrays


class TranscriptionScorer(TaskScorer):
    """Counts errors by the alignment of jiwer; who spoke is a column ``speaker`` where that is known."""

    task = Task.TRANSCRIPTION
    truth_columns = ("words", "characters")
    columns = ("word_errors", "character_errors")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._speakers: dict[str, int] = {}

    def prepare(self, given: Labelled) -> Facts:
        """Words and characters of each text, and who spoke it, numbered as they come."""
        texts = [self._text(truth) for truth in given.truths]
        for index, text in zip(given.batch.indices, texts, strict=True):
            if not text.strip():
                raise DataError(f"sample {index} has an empty text: there is nothing to transcribe")
        speakers = given.batch.speakers
        if self.units and (speakers is None) == bool(self._speakers):
            raise DataError("some samples have speakers and some have none")
        numbers = self._speakers
        return {
            "words": [len(text.split()) for text in texts],
            "characters": [len(text) for text in texts],
            **(
                {"speaker": [numbers.setdefault(one, len(numbers)) for one in speakers]}
                if speakers is not None
                else {}
            ),
        }

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Substitutions, deletions and insertions of each utterance."""
        try:
            import jiwer
        except ImportError:
            raise DataError(
                "the task transcription needs jiwer: pip install 'quantgate[tasks]'"
            ) from None
        answers = self.texts(outputs)
        expected = [self._text(truth) for truth in given.truths]
        words = [_errors(jiwer.process_words(a, b)) for a, b in zip(expected, answers, strict=True)]
        characters = [
            _errors(jiwer.process_characters(a, b)) for a, b in zip(expected, answers, strict=True)
        ]
        return {"word_errors": words, "character_errors": characters}

    def texts(self, outputs: TensorMap) -> list[str]:
        """What the model answers, one text a sample.

        Raises:
            UnscorableError: no output of scores or of symbols, or a symbol outside the alphabet.
        """
        found = self.output(
            outputs,
            lambda v: v.ndim == 3 or (v.ndim == 2 and v.dtype.kind in "iu"),
            "scores of shape (batch, steps, symbols) or whole numbers of shape (batch, steps)",
        )
        symbols = found if found.ndim == 2 else found.argmax(axis=2)
        return [self._decoded(row) for row in symbols]

    def _decoded(self, symbols: Array) -> str:
        if self.options["decoder"] == "ctc-greedy":
            changed = np.append(True, symbols[1:] != symbols[:-1])
            symbols = symbols[changed & (symbols != int(self.options["blank"]))]
        elif "end" in self.options:
            ends = np.flatnonzero(symbols == int(self.options["end"]))
            symbols = symbols[: ends[0]] if ends.size else symbols
        return self._cased("".join(self._symbol(int(symbol)) for symbol in symbols))

    def _symbol(self, index: int) -> str:
        alphabet = self.options["alphabet"]
        if not 0 <= index < len(alphabet):
            raise UnscorableError(f"symbol {index} is outside the alphabet of {len(alphabet)}")
        return str(alphabet[index])

    def _text(self, truth: Truth) -> str:
        if isinstance(truth, str):
            return self._cased(truth)
        if isinstance(truth, np.ndarray) and truth.ndim == 1 and truth.dtype.kind in "iu":
            try:
                # Negative symbols are padding.
                return self._cased("".join(self._symbol(int(s)) for s in truth if s >= 0))
            except UnscorableError as error:
                raise DataError(f"a label cannot be read: {error}") from error
        raise DataError(
            f"the task {self.task} takes texts or symbols as labels, the data has"
            f" {type(truth).__name__}"
        )

    def _cased(self, text: str) -> str:
        return text.lower() if self.options["lowercase"] else text


class LanguageScorer(TaskScorer):
    """Adds up the negative log-likelihood of the true tokens, in nat."""

    task = Task.LANGUAGE_MODELING
    truth_columns = ("tokens",)
    columns = ("nll",)

    def prepare(self, given: Labelled) -> Facts:
        """How many tokens of each sample are counted."""
        return {
            "tokens": [int(self._counted(tokens).sum()) for tokens in self._tokens(given.truths)]
        }

    def facts(self, outputs: TensorMap, given: Labelled) -> Facts:
        """Sum over the tokens of each sample."""
        scores = self.output(
            outputs,
            lambda v: v.ndim == 3 and v.dtype.kind == "f",
            "scores of shape (batch, positions, tokens)",
        )
        totals = []
        for rows, tokens in zip(scores, self._tokens(given.truths), strict=True):
            if len(rows) != len(tokens):
                raise UnscorableError(f"{len(rows)} positions for {len(tokens)} true tokens")
            counted = self._counted(tokens)
            chosen = tokens[counted]
            if chosen.size and not 0 <= chosen.min() <= chosen.max() < rows.shape[1]:
                raise DataError(
                    f"tokens from {chosen.min()} to {chosen.max()}, the model knows {rows.shape[1]}"
                )
            wide = rows[counted].astype(np.float64)
            shifted = wide - wide.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1))
            totals.append(float((log_sum - shifted[np.arange(len(chosen)), chosen]).sum()))
        return {"nll": totals}

    def _counted(self, tokens: Array) -> Array:
        return np.asarray(tokens != int(self.options["ignore"]))

    def _tokens(self, truths: Sequence[Truth]) -> list[Array]:
        found = arrays(truths, self.task, "tokens")
        for tokens in found:
            if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
                raise DataError(
                    f"tokens are whole numbers of shape (positions,), found {tokens.dtype} of shape"
                    f" {list(tokens.shape)}"
                )
        return found


def _errors(aligned: object) -> int:
    """Errors of one alignment; the two kinds of jiwer have the same counts."""
    return sum(int(getattr(aligned, kind)) for kind in ("substitutions", "deletions", "insertions"))
