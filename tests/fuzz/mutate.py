"""Real files changed: bytes cut out, doubled and put in, or one value of a document replaced by an odd one."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import yaml

PIECES = [b"{{", b"}}", b"{%", b"%}", b"{#", b"---\n", b"\t", b"&a ", b"*a", b"\xff", b"\0", b"- ", b": ", b"\n", b"!"]
PIECES += [
    b"[" * 500,
    b"{" * 500,
    b"(" * 500,
    b'"',
    b"'",
    b",",
    b"\r",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"<<: ",
    b"|\n",
]
PIECES += [
    b"{% if x %}",
    b"{% endblock %}",
    b"{% for a in b %}",
    b"{% block input %}",
    b"{% extends 'a' %}",
    b"{{ super() }}",
]
NUMBERS = [
    *("0", "-1", "-0.0", "1", "2147483648", "-2147483649", "4294967296", "18446744073709551616"),
    *("9223372036854775808", "-9223372036854775809", "99999999999999999999", "9" * 400, "9" * 5000, "-" + "9" * 5000),
    *(".nan", ".inf", "-.inf", "1e308", "-1e308", "1e999", "5e-324", "1e-400", "0x7fffffffffffffffffff", "1_000"),
    *("NaN", "Infinity", "0o17", "1.5", "1e5"),
]
TEXTS = [
    *(
        '""',
        '" "',
        '"\\0"',
        '"a\\0b"',
        '"\\ud83d"',
        '"\\u202e"',
        '"\\x1b[31m"',
        '"a\\nb"',
        '"é"',
        '"../../../etc/passwd"',
    ),
    *(
        '"/dev/zero"',
        '"."',
        '".."',
        '"/"',
        '"~"',
        '"{{"',
        '"{{ x"',
        '"{% if %}"',
        '"{{ 7 * 7 }}"',
        '"{{ [1] * 10000 }}"',
    ),
    *('"{{ 9 ** 9 ** 9 }}"', '"{{ x.__class__ }}"', '"{{ range(1000000000) | list }}"', '"' + "x" * 100_000 + '"'),
    *('"(("', '"(a+)+$"', '"["', '"last"', '"auto"', '"-"', '"a:b"', '"ollama/"', '"os:system"', '"2026-01-01"'),
    *('"' + "{{ x }}" * 2000 + '"', '"' + "(" * 3000 + '"', '"{{ ' + "(" * 300 + ')}}"', '"a.b.c.d"', '"x | y"'),
]
SHAPES = [
    *("null", "true", "false", "[]", "{}", "[[]]", "[{}]", "{a: {}}", "[null]", '{"": 1}', '{"\\0": 1}', "{1: 2}"),
    *(
        "{null: 1}",
        "{[1]: 2}",
        "{{}: 1}",
        "{a: 1, a: 2}",
        "[" * 50 + "]" * 50,
        "[" * 900 + "]" * 900,
        "{a: " * 90 + "1" + "}" * 90,
    ),
    *(
        "[" + "1," * 20_000 + "1]",
        "{" + ",".join(f"k{number}: 1" for number in range(3000)) + "}",
        "!!python/name:os.system",
    ),
    *("&a [*a]", "*a", "<<", "[a, a]", "{true: 1}", "{1.5: 1}", '{"{{ x }}": 1}'),
]
ODD = [*NUMBERS, *TEXTS, *SHAPES]
ASCII = range(32, 127)
FENCE = "---\n"


class Raw(str):
    """A value as it is written."""


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Return a real file with an odd value in it, changed in one to three places, or bytes that are none."""
    kind = chance.random()
    if kind < 0.05:
        return chance.randbytes(chance.randint(0, 300))
    if kind < 0.6:
        with contextlib.suppress(ValueError):
            return _with_an_odd_value(chance, data)
    for _ in range(chance.randint(1, 3)):
        start = chance.randint(0, len(data))
        end = min(len(data), start + chance.randint(0, 40))
        noise = bytes(chance.choices(ASCII, k=chance.randint(0, 5)))
        put = chance.choice([chance.choice(PIECES), noise, data[start:end] * 2])
        data = data[:start] + put + data[end:]
    return data


def odd_files(data: bytes) -> Iterator[Callable[[str], bytes]]:
    """Yield, for each value in a file, what makes the file with an odd value in its place. Raises ValueError."""
    for document, around in _documents(data):
        value = _value(document)
        for parent, key in list(_places(value)):
            yield partial(_with_value, value, parent, key, around)


def _with_value(whole: Any, parent: Any, key: Any, around: Callable[[str], bytes], odd: str) -> bytes:
    before, parent[key] = parent[key], Raw(odd)
    try:
        return around(_written(whole))
    finally:
        parent[key] = before


def _with_an_odd_value(chance: random.Random, data: bytes) -> bytes:
    document, around = chance.choice(_documents(data))
    value = _value(document)
    found = list(_places(value))
    if not found:
        raise ValueError("a text alone")
    parent, key = chance.choice(found)
    odd = chance.choice(_fitting(parent[key]) if chance.random() < 0.6 else ODD)
    if isinstance(parent, dict) and chance.random() < 0.15:
        parent[Raw(odd)] = parent.pop(key)
        return around(_written(value))
    return _with_value(value, parent, key, around, odd)


def _documents(data: bytes) -> list[tuple[str, Callable[[str], bytes]]]:
    """Return the documents of a file, each with what puts another one in its place: the whole, the front matter, or
    each line. Raises ValueError."""
    text = data.decode()
    front, fenced, body = text.removeprefix(FENCE).partition("\n" + FENCE)
    if text.startswith(FENCE) and fenced:
        return [(front, lambda document: f"{FENCE}{document}\n{FENCE}{body}".encode())]
    lines = text.splitlines()
    if len(lines) < 2 or not all(line.startswith("{") and line.endswith("}") for line in lines):
        return [(text, str.encode)]

    def line_at(number: int) -> Callable[[str], bytes]:
        return lambda line: ("\n".join([*lines[:number], line, *lines[number + 1 :]]) + "\n").encode()

    return [(line, line_at(number)) for number, line in enumerate(lines)]


def _value(document: str) -> Any:
    try:
        return yaml.load(document, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ValueError("not YAML") from error


def _fitting(value: Any) -> list[str]:
    """Return odd values of the kind of a value: these come further than the check of its type."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return NUMBERS
    return TEXTS if isinstance(value, str) else SHAPES


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield each mapping or list with each of its keys, also the nested ones."""
    if not isinstance(value, dict | list):
        return
    for key, part in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        yield from _places(part)


def _written(value: Any) -> str:
    """Return a value as YAML in one line, which is JSON where nothing is odd."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(key)}: {_written(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return json.dumps(value, default=str)
