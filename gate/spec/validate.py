"""A tree against the JSON Schema, with the mistakes in words and at their places."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from gate.core.status import Tier
from gate.core.tolerance import SourcePosition
from gate.metrics.catalogue import CATALOGUE
from gate.spec import schema
from gate.spec.diagnostics import Diagnostic, did_you_mean, name_or_list, one_of, shown
from gate.spec.entries import ENTRY_PATTERN
from gate.spec.nodes import Node, Path, at, dotted, key_position, plain

# A jsonschema ValidationError; its stubs have every attribute as possibly unset.
Fault: TypeAlias = Any

_CHOICE = "chosen plugin"
_MOST_NAMED = 12
_FORMS = {"^[0-9a-fA-F]{64}$": "64 hexadecimal digits", ENTRY_PATTERN: "package.module:callable"}

_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_BOOL_LIKE = frozenset({"yes", "no", "on", "off", "y", "n"})


def validate(root: Node, *, complete: bool = True) -> list[Diagnostic]:
    """Every way in which the document does not follow the schema; the text of tolerances is left to
    ``gate.spec.tolerances``, which says more about it.

    Args:
        root: the document, merged.
        complete: False where a part of it could not be read, so that a missing key may be no mistake.
    """
    found: list[Diagnostic] = []
    for error in _validator().iter_errors(plain(root)):
        if complete or error.validator != "required":
            found.extend(_explain(error, root))
    return found


@cache
def _validator() -> Any:
    # 2.0 is a number, not a count: the standard's reading would let it through to range().
    types = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    make: Any = extend  # untyped in the stubs
    keywords = {_CHOICE: _chosen, "pattern": _matched}
    kind = make(Draft202012Validator, keywords, type_checker=types)
    whole = schema.current()
    return kind(_inlined({k: v for k, v in whole.items() if k != "$defs"}, whole["$defs"]))


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """The same schema without references, whose resolution costs more than the checks, and with a
    choice of plugin as one step in place of one condition a plugin."""
    if isinstance(part, list):
        return [_inlined(item, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        name = part["$ref"].removeprefix("#/$defs/")
        # The text of tolerances is read by their own grammar.
        return {} if name.startswith("tolerance-") else _inlined(definitions[name], definitions)
    conditions = part.get("allOf", [])
    if not all("if" in condition for condition in conditions) or not conditions:
        return {key: _inlined(below, definitions) for key, below in part.items()}
    (key,) = conditions[0]["if"]["properties"]
    table = {
        condition["if"]["properties"][key]["const"]: _inlined(condition["then"], definitions)
        for condition in conditions
    }
    rest = {name: below for name, below in part.items() if name != "allOf"}
    return {**_inlined(rest, definitions), _CHOICE: (key, table)}


def _chosen(validator: Any, choice: Any, instance: Any, _: Any) -> Iterator[Fault]:
    key, table = choice
    name = instance.get(key) if isinstance(instance, dict) else None
    if isinstance(name, str) and name in table:
        yield from validator.descend(instance, table[name])


def _matched(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[Fault]:
    # In JSON Schema "$" is the end of the text; in Python also the place before a last line break.
    if validator.is_type(instance, "string"):
        exact = f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern
        if re.search(exact, instance) is None:
            yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _explain(error: Fault, root: Node) -> Iterator[Diagnostic]:
    path: Path = tuple(error.absolute_path)
    keyword = str(error.validator)
    if "propertyNames" in error.absolute_schema_path:
        name = str(error.instance)
        title = _resolved_title(error)
        yield _at_key(root, (*path, name), f"expected {title}, found '{shown(name)}'")
    elif keyword == "additionalProperties":
        yield from _unknown_keys(error, root, path)
    elif keyword in ("anyOf", "oneOf"):
        yield from _alternatives(error, root, path)
    elif keyword == "required":
        yield from _missing_keys(error, root, path)
    else:
        message, hint = _WORDS.get(keyword, _other)(error)
        position = at(root, path).position
        yield Diagnostic(position=position, path=dotted(path), message=message, hint=hint)


def _at_key(root: Node, path: Path, message: str, hint: str = "") -> Diagnostic:
    position: SourcePosition = key_position(root, path)
    return Diagnostic(position=position, path=dotted(path), message=message, hint=hint)


def _unknown_keys(error: Fault, root: Node, path: Path) -> Iterator[Diagnostic]:
    known = list(error.schema.get("properties", ()))
    tier = str(path[-1]) if path and path[-1] in tuple(Tier) and "tolerances" in path else ""
    for key in error.instance:
        if key in known:
            continue
        if not tier:
            yield _at_key(
                root, (*path, key), f"unknown key '{shown(key)}'", name_or_list(key, known)
            )
            continue
        elsewhere = [info.tier for info in CATALOGUE if info.name == key]
        hint = (
            f"it belongs to the tier {one_of(elsewhere)}"
            if elsewhere
            else did_you_mean(key, known) or "'gate metrics' lists them all"
        )
        yield _at_key(root, (*path, key), f"unknown metric of the tier {tier}", hint)


def _missing_keys(error: Fault, root: Node, path: Path) -> Iterator[Diagnostic]:
    node = at(root, path)
    for key in error.validator_value:
        if key not in error.instance:
            near = difflib.get_close_matches(key, error.instance, n=1, cutoff=0.6)
            yield Diagnostic(
                position=node.position,
                path=dotted(path),
                message=f"the key '{key}' is missing",
                hint=f"is it the '{shown(near[0])}'?" if near else "",
            )


def _alternatives(error: Fault, root: Node, path: Path) -> Iterator[Diagnostic]:
    """Speak about the one alternative that is of the right type, or name them all."""
    if all(set(branch) == {"required"} for branch in error.validator_value):
        yield _either_key(error, root, path)
        return
    branches: dict[Any, list[Fault]] = {}
    for below in error.context or ():
        branches.setdefault(below.schema_path[0], []).append(below)
    fitting = [
        errors
        for errors in branches.values()
        if not any(e.validator in ("type", "const", "enum") and not e.path for e in errors)
    ]
    if len(fitting) == 1:
        for below in fitting[0]:
            yield from _explain(below, root)
        return
    expected = list(dict.fromkeys(_expectation(branch) for branch in error.validator_value))
    message = f"expected {' or '.join(expected)}, found {describe(error.instance)}"
    yield Diagnostic(position=at(root, path).position, path=dotted(path), message=message)


def _either_key(error: Fault, root: Node, path: Path) -> Diagnostic:
    """Alternatives that differ only in the keys they need: none is there, or too many are."""
    choices = [" and ".join(f"'{k}'" for k in b["required"]) for b in error.validator_value]
    present = [b for b in error.validator_value if all(k in error.instance for k in b["required"])]
    message = (
        f"only {one_of(choices)} can be given"
        if present
        else f"a key is missing: {one_of(choices)}"
    )
    return Diagnostic(position=at(root, path).position, path=dotted(path), message=message)


def _expectation(branch: dict[str, Any]) -> str:
    if "title" in branch:
        return str(branch["title"])
    if "const" in branch:
        return _literal(branch["const"])
    if "enum" in branch:
        return one_of([_literal(value) for value in branch["enum"]])
    return _type_words(branch.get("type", "object"))


def _type_words(kinds: str | list[str]) -> str:
    return one_of([_TYPES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _literal(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return shown(str(value))


def describe(value: Any) -> str:
    """A value in the words of a message: ``the string 'x'``, ``the number 3``, ``a list``."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        return f"the string '{shown(value)}'"
    if value is None or isinstance(value, bool):
        return _literal(value)
    return f"the number {value}"


def _resolved_title(error: Fault) -> str:
    return str(error.schema.get("title", "another name"))


Words = tuple[str, str]


def _type(error: Fault) -> Words:
    value = error.instance
    hint = ""
    if (
        isinstance(value, str)
        and error.validator_value == "boolean"
        and value.lower() in _BOOL_LIKE
    ):
        hint = "YAML 1.2 knows only true and false"
    elif isinstance(value, bool | int | float) and error.validator_value == "string":
        hint = "write it in quotes"
    return f"expected {_type_words(error.validator_value)}, found {describe(value)}", hint


def _enum(error: Fault) -> Words:
    values = [_literal(value) for value in error.validator_value]
    word = error.instance
    hint = did_you_mean(word, values) if isinstance(word, str) else ""
    if len(values) <= _MOST_NAMED:
        return f"expected {one_of(values)}, found {describe(word)}", hint
    # A metric without its tier, say.
    tails = [value for value in values if value.endswith(f".{word}")]
    hint = f"did you mean {one_of([repr(tail) for tail in tails])}?" if tails else hint
    return f"unknown name {_literal(word)!r}", hint or f"expected {one_of(values)}"


def _const(error: Fault) -> Words:
    return f"expected {_literal(error.validator_value)}, found {describe(error.instance)}", ""


def _pattern(error: Fault) -> Words:
    found = describe(error.instance)
    examples = error.schema.get("examples")
    description = str(error.schema.get("description", "")).rstrip(".")
    hint = f"for example '{examples[0]}'" if examples else description
    title = error.schema.get("title") or _FORMS.get(str(error.validator_value))
    if title is None:
        return f"{found} does not fit", hint or f"expected the form {error.validator_value}"
    return f"expected {title}, found {found}", hint


def _limit(words: str) -> Callable[[Fault], Words]:
    def explain(error: Fault) -> Words:
        return f"expected {words} {error.validator_value}, found {describe(error.instance)}", ""

    return explain


def _too_few(error: Fault) -> Words:
    if error.instance in ("", [], {}):
        return "must not be empty", ""
    return f"expected at least {error.validator_value}, found {len(error.instance)}", ""


def _too_many(error: Fault) -> Words:
    return f"expected at most {error.validator_value}, found {len(error.instance)}", ""


def _repeated(error: Fault) -> Words:
    items = error.instance
    twice = next(item for index, item in enumerate(items) if item in items[:index])
    return f"{describe(twice)} is given twice", ""


def _dependent(error: Fault) -> Words:
    for key, needed in error.validator_value.items():
        for other in needed:
            if key in error.instance and other not in error.instance:
                return f"the key '{key}' needs the key '{other}' beside it", ""
    return _other(error)


def _other(error: Fault) -> Words:
    return shown(str(error.message), 200), ""


_WORDS: dict[str, Callable[[Fault], Words]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "pattern": _pattern,
    "minimum": _limit("a number >="),
    "exclusiveMinimum": _limit("a number >"),
    "maximum": _limit("a number <="),
    "exclusiveMaximum": _limit("a number <"),
    "minLength": _too_few,
    "minItems": _too_few,
    "minProperties": _too_few,
    "maxLength": _too_many,
    "maxItems": _too_many,
    "maxProperties": _too_many,
    "uniqueItems": _repeated,
    "dependentRequired": _dependent,
}
