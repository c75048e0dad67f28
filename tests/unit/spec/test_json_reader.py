from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.spec.nodes import MAX_DEPTH, key_position, plain
from gate.spec.reader import read_bytes

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cn"]))
_TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(_TEXTS, below, max_size=4),
    max_leaves=12,
)


def messages(text: str) -> list[str]:
    return [str(d) for d in read_bytes(text.encode(), "a.json")[1]]


@given(_TREES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_reads_what_the_standard_library_writes(tree: Any, indent: Any, ascii_only: bool) -> None:
    text = json.dumps(tree, indent=indent, ensure_ascii=ascii_only)
    node, diagnostics = read_bytes(text.encode(), "a.json")
    assert not diagnostics
    assert node is not None
    assert plain(node) == tree
    assert json.dumps(plain(node)) == json.dumps(tree)


@given(st.text(alphabet='{}[]",:0123456789.eE+-truefalsn \n\\u/#', max_size=30))
def test_refuses_what_the_standard_library_refuses(text: str) -> None:
    node, diagnostics = read_bytes(text.encode(), "a.json")
    try:
        expected = json.loads(text)
    except ValueError:
        assert diagnostics
    else:
        # The standard library takes more: duplicate keys, numbers that overflow.
        assert diagnostics or (node is not None and plain(node) == expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2", "a.json:1:6: not JSON: expected ',' or ']', found end of the text"),
        ("[1 2]", "a.json:1:4: not JSON: expected ',' or ']', found '2'"),
        ('{"a": }', "a.json:1:7: not JSON: expected a value, found '}'"),
        ('{"a": tru}', "a.json:1:7: not JSON: expected a value, found 'tru'"),
        ("{a: 1}", "a.json:1:2: not JSON: expected a key in double quotes, found 'a'"),
        ("[-Infinity]", "a.json:1:2: not JSON: '-' is not a finite number"),
        ('["\\x"]', "a.json:1:3: not JSON: invalid \\escape"),
        ('["a\nb"]', "a.json:1:4: not JSON: invalid control character"),
        ('["a', "a.json:1:2: not JSON: unterminated string"),
        ("[1] # x", "a.json:1:5: not JSON: comments are not allowed (YAML has comments)"),
        ("[+1]", "a.json:1:2: not JSON: expected a value, found '+'"),
        ("[.5]", "a.json:1:2: not JSON: expected a value, found '.'"),
        (
            "['a']",
            "a.json:1:2: not JSON: expected a value, found ''' (strings stand in double quotes)",
        ),
        ("[,]", "a.json:1:2: not JSON: expected a value, found ','"),
        ("[1,]", "a.json:1:3: not JSON: a comma before the closing bracket"),
    ],
)
def test_syntax(text: str, message: str) -> None:
    assert messages(text) == [message]


def test_every_other_mistake_is_told_at_once() -> None:
    text = '{"a": 1e999,\n "b": "\\u0000", "b": 2,\r\n "c\\u0007": 99999999999999999999}'
    assert messages(text) == [
        "a.json:1:7: a: the number 1e999 is too large for a double",
        "a.json:2:7: b: the text holds U+0000, which cannot be printed",
        "a.json:2:17: the key 'b' is already given in line 2",
        'a.json:3:13: "c\\x07": the number 99999999999999999999 does not fit into 64 bits',
        "a.json:3:2: the key holds U+0007, which cannot be printed",
    ]


def test_positions() -> None:
    node, _ = read_bytes('\ufeff{\n  "é": [1,\n 2]}'.encode(), "a.json")
    assert node is not None
    assert str(key_position(node, ("é",))) == "a.json:2:3"
    assert str(key_position(node, ("é", 1))) == "a.json:3:2"


def test_depth_is_limited() -> None:
    assert not messages("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    assert "nested deeper than 32" in messages("[" * 10**6)[0]
