from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from gate.spec import yaml_reader
from gate.spec.nodes import MAX_DEPTH, MAX_NODES, Mapping, key_position, plain
from gate.spec.reader import MAX_BYTES, read_bytes


def read(text: str) -> Any:
    node, diagnostics = read_bytes(text.encode(), "a.yaml")
    assert not diagnostics, diagnostics
    assert node is not None
    return plain(node)


def messages(text: str | bytes) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode()
    return [str(d) for d in read_bytes(data, "a.yaml")[1]]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        ("+.5", 0.5),
        ("5.", 5.0),
        ("0123", 123),
        ("0o17", 15),
        ("0xff", 255),
        ("-7", -7),
        ("12:30", "12:30"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("n", "n"),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("0x", "0x"),
        ("-0o7", "-0o7"),
        (".", "."),
        ("1e", "1e"),
        ("--1", "--1"),
        ("=", "="),
        ("'1'", "1"),
        ('"on"', "on"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("!!int 12", 12),
        ("!!null ''", None),
    ],
)
def test_words_follow_the_core_schema_of_yaml_1_2(word: str, value: object) -> None:
    found = read(f"a: {word}\n")["a"]
    assert found == value
    assert type(found) is type(value)


def test_an_empty_value_is_null() -> None:
    assert read("a:\nb: 1\n") == {"a": None, "b": 1}


@pytest.mark.parametrize("word", [".inf", "-.INF", ".nan", "1e400", "9223372036854775808"])
def test_numbers_beyond_64_bits_are_refused(word: str) -> None:
    (message,) = messages(f"a: {word}\n")
    assert message.startswith("a.yaml:1:4: a: ")


def test_the_largest_numbers_are_read() -> None:
    assert read("[9223372036854775807, -9223372036854775808, 1e308]") == [
        2**63 - 1,
        -(2**63),
        1e308,
    ]


def test_positions_count_from_one_in_characters() -> None:
    node, _ = read_bytes("é: 1\nlist:\n  - ü: [x, 'y']\n".encode(), "a.yaml")
    assert isinstance(node, Mapping)
    assert str(key_position(node, ("list", 0, "ü"))) == "a.yaml:3:5"
    assert str(key_position(node, ("list", 0, "ü", 1))) == "a.yaml:3:12"
    assert str(node.entries["é"].position) == "a.yaml:1:4"


def test_a_byte_order_mark_is_not_part_of_the_text() -> None:
    node, diagnostics = read_bytes(b"\xef\xbb\xbfa: 1\n", "a.yaml")
    assert not diagnostics
    assert node is not None
    assert plain(node) == {"a": 1}
    assert str(key_position(node, ("a",))) == "a.yaml:1:1"


def test_every_mistake_is_told_at_once() -> None:
    text = "a: .nan\nb: *x\na: 2\n3: 4\n? [k]\n: 5\nc: !!python/object 6\nd: 7\n"
    assert messages(text) == [
        "a.yaml:1:4: a: '.nan' is not a finite number",
        "a.yaml:2:4: b: there is no anchor '&x' before this alias",
        "a.yaml:3:1: the key 'a' is already given in line 1",
        "a.yaml:4:1: the key 3 is not a text (write it in quotes)",
        "a.yaml:5:3: a key must be a text, not a list or a mapping",
        "a.yaml:7:4: c: the tag 'tag:yaml.org,2002:python/object' is not allowed; only the core tags are",
    ]


def test_aliases_stand_for_their_anchor() -> None:
    assert read("a: &x {k: [1, &y 2]}\nb: *x\nc: *y\n") == {
        "a": {"k": [1, 2]},
        "b": {"k": [1, 2]},
        "c": 2,
    }


def test_an_anchor_can_be_given_anew() -> None:
    assert read("- &x 1\n- *x\n- &x 2\n- *x\n") == [1, 1, 2, 2]


def test_depth_is_limited() -> None:
    assert read("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    assert messages(deep)[0].endswith("nested deeper than 32 levels")


def test_depth_is_limited_through_aliases() -> None:
    half = MAX_DEPTH // 2
    fits = f"- &a {'[' * (half - 1)}{']' * (half - 1)}\n- {'[' * half}*a{']' * half}\n"
    assert read(fits)
    over = f"- &a {'[' * (half - 1)}{']' * (half - 1)}\n- {'[' * (half + 1)}*a{']' * (half + 1)}\n"
    assert "nested deeper than 32 levels" in messages(over)[0]


def test_values_are_limited_with_what_aliases_stand_for() -> None:
    assert len(read("- 1\n" * (MAX_NODES - 1))) == MAX_NODES - 1
    assert "more than 100000 values" in messages("- 1\n" * MAX_NODES)[0]
    row = "&a [" + "x, " * 999 + "x]"
    assert "more than 100000 values" in messages(f"- {row}\n" + "- *a\n" * 100)[0]


def test_size_is_limited() -> None:
    assert read("a: " + "x" * (MAX_BYTES - 3))
    assert messages("a: " + "x" * (MAX_BYTES - 2)) == [
        "a.yaml:1:1: is larger than 1 MiB, the limit for a spec"
    ]


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x7f", "\x85", "\u2028", "\ufffe"])
def test_characters_that_are_no_text_are_refused_raw_and_escaped(character: str) -> None:
    assert messages(f"a:\n  b{character}") == [
        f"a.yaml:2:4: the character U+{ord(character):04X} is not allowed"
    ]
    escaped = f"\\u{ord(character):04x}"
    assert messages(f'a: "{escaped}"') == [
        f"a.yaml:1:4: a: the text holds U+{ord(character):04X}, which cannot be printed"
    ]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_endings(ending: str) -> None:
    node, _ = read_bytes(f"a: 1{ending}b: 2{ending}".encode(), "a.yaml")
    assert node is not None
    assert str(key_position(node, ("b",))) == "a.yaml:2:1"


def test_without_libyaml_the_same_is_read(monkeypatch: pytest.MonkeyPatch, small: str) -> None:
    expected = read(small)
    monkeypatch.setattr(yaml_reader, "_LOADER", yaml.Loader)
    assert read(small) == expected
    assert "not YAML" in messages("a: [")[0]


_KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
_TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _KEYS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_KEYS, below, max_size=4),
    max_leaves=12,
)


def as_yaml(value: Any) -> str:
    """Flow style, strings in double quotes: unambiguous in every version of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_yaml(k)}: {as_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return (
        {None: "null", True: "true", False: "false"}[value]
        if (value is None or isinstance(value, bool))
        else repr(value)
    )


@given(_TREES)
def test_what_was_written_is_read(tree: Any) -> None:
    found = read(as_yaml(tree))
    assert found == tree
    assert isinstance(found, type(tree))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_are_read_exactly(value: float) -> None:
    found = read(f"- {value!r}\n")[0]
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)
