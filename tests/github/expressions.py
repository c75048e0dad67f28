"""GitHub's expressions, as far as the workflows of this repository use them.

What is not known here raises: a workflow that uses more must teach this first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<op>&&|\|\||==|!=|!|\(|\)|,|\.|\[|\])|(?P<name>[A-Za-z_][A-Za-z0-9_-]*))"
)
_INNER = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)


class ExpressionError(Exception):
    """An expression that this interpreter does not know."""


@dataclass
class _Parser:
    tokens: list[tuple[str, str]]
    contexts: Mapping[str, Any]
    functions: Mapping[str, Callable[..., Any]]
    place: int = 0

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> tuple[str, str]:
        if self.place >= len(self.tokens):
            raise ExpressionError("ends too early")
        kind, text = self.tokens[self.place]
        if wanted is not None and text != wanted:
            raise ExpressionError(f"expected {wanted}, found {text}")
        self.place += 1
        return kind, text

    def either(self) -> Any:
        value = self.both()
        while self.peek() == "||":
            self.take()
            other = self.both()
            value = value if truthy(value) else other
        return value

    def both(self) -> Any:
        value = self.compared()
        while self.peek() == "&&":
            self.take()
            other = self.compared()
            value = other if truthy(value) else value
        return value

    def compared(self) -> Any:
        value = self.negated()
        while self.peek() in {"==", "!="}:
            _, op = self.take()
            same = equal(value, self.negated())
            value = same if op == "==" else not same
        return value

    def negated(self) -> Any:
        if self.peek() == "!":
            self.take()
            return not truthy(self.negated())
        return self.primary()

    def primary(self) -> Any:
        kind, text = self.take()
        if text == "(":
            value = self.either()
            self.take(")")
        elif kind == "string":
            value = text[1:-1].replace("''", "'")
        elif kind == "number":
            value = float(text) if "." in text else int(text)
        elif text in {"true", "false", "null"}:
            value = {"true": True, "false": False, "null": None}[text]
        elif kind == "name" and self.peek() == "(":
            value = self.call(text)
        elif kind == "name":
            if text not in self.contexts:
                raise ExpressionError(f"no context '{text}' here")
            value = self.contexts[text]
        else:
            raise ExpressionError(f"unexpected {text}")
        while self.peek() == ".":
            self.take()
            value = _member(value, self.take()[1])
        return value

    def call(self, name: str) -> Any:
        if name not in self.functions:
            raise ExpressionError(f"no function '{name}' here")
        arguments = []
        self.take("(")
        while self.peek() != ")":
            arguments.append(self.either())
            if self.peek() == ",":
                self.take()
        self.take(")")
        return self.functions[name](*arguments)


def evaluate(
    text: str, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> Any:
    """The value of one expression, without ``${{ }}``."""
    tokens, end = [], 0
    text = text.rstrip()
    while end < len(text):
        match = _TOKEN.match(text, end)
        if match is None:
            raise ExpressionError(f"cannot read {text[end:]!r}")
        tokens.append((str(match.lastgroup), match[0].strip()))
        end = match.end()
    parser = _Parser(tokens, contexts, {**_FUNCTIONS, **functions})
    value = parser.either()
    if parser.place != len(tokens):
        raise ExpressionError(f"{text!r}: {parser.peek()!r} is left over")
    return value


def fill(
    value: Any, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> Any:
    """``value`` with every ``${{ }}`` evaluated; one that is all of a string keeps its type."""
    if isinstance(value, Mapping):
        return {key: fill(item, contexts, functions) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, contexts, functions) for item in value]
    if not isinstance(value, str):
        return value
    whole = _INNER.fullmatch(value.strip())
    if whole and value.count("${{") == 1:
        return evaluate(whole[1], contexts, functions)
    return _INNER.sub(lambda found: text_of(evaluate(found[1], contexts, functions)), value)


def condition(
    value: Any, contexts: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> bool:
    """An ``if:``; without a status function ``success()`` is meant as well."""
    text = "success()" if value is None else str(value)
    inner = _INNER.fullmatch(text.strip())
    text = inner[1] if inner else text
    if not re.search(r"\b(success|failure|always|cancelled)\(\)", text):
        text = f"success() && ({text})"
    return truthy(evaluate(text, contexts, functions))


def truthy(value: Any) -> bool:
    """False, 0, the empty string and null are not."""
    return value not in (False, 0, "", None)


def equal(left: Any, right: Any) -> bool:
    """Loosely: different types are compared as numbers, strings without their case."""
    if isinstance(left, str) and isinstance(right, str):
        return left.lower() == right.lower()
    if type(left) is type(right):
        return bool(left == right)
    return _number(left) == _number(right)


def text_of(value: Any) -> str:
    """As it is written into a string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _number(value: Any) -> float:
    if value is None or value == "":
        return 0.0
    if isinstance(value, bool | int | float):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _member(value: Any, name: str) -> Any:
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, Mapping):
        raise ExpressionError(f"{value!r} has no members")
    return value.get(name)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fromJSON": json.loads,
    "toJSON": lambda value: json.dumps(value, indent=2),
    "startsWith": lambda text, start: text_of(text).lower().startswith(text_of(start).lower()),
    "contains": lambda text, part: (
        part in text if isinstance(text, list) else text_of(part).lower() in text_of(text).lower()
    ),
}
