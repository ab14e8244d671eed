"""Edits of a user's YAML that leave the rest of the text as it is: items added, values set and removed.

The text is changed at the place of a node, then read again: an edit that would change anything else is refused.
"""

from __future__ import annotations

import copy
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import yaml

from promptkit.errors import InputError, Problem
from promptkit.storage.yaml import REFUSED, Document, Node, load, means_text

_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)(?<![^\n])---[ \t]*(?:\r?\n|$)", re.DOTALL)


def append_item(text: str, path: Sequence[str], item: Any, *, file: str) -> str:
    """Return `text` with `item` (plain data) added to the list at `path`; a missing last key is made.

    The text of a file whose name ends in neither .yaml nor .yml is a template, with or without front matter. Raises
    InputError where the text is not valid or the place holds something else than a list.
    """
    return edit_yaml(text, partial(_append, path=path, item=item), file=file)


class Edit(Protocol):
    """A function that returns a YAML text edited. `first_line` is the line of `file` that the text begins on."""

    def __call__(self, text: str, *, file: str, first_line: int) -> str: ...


def edit_yaml(text: str, edit: Edit, *, file: str) -> str:
    """Return a file's text with its YAML edited: all of it, or the front matter of a template, made where it has none.

    Raises InputError as `edit` does, and for front matter without an end.
    """
    if file.endswith((".yaml", ".yml")):
        return edit(text, file=file, first_line=1)
    front = _FRONT_MATTER.match(text)
    if front is None:
        if text.startswith("---"):
            raise InputError(Problem("the front matter has no end", file, 1, 1, "close it with a line `---`"))
        added = edit("", file=file, first_line=1)
        return f"---\n{added}---\n{text}"
    edited = edit(front.group(1), file=file, first_line=2)
    return text[: front.start(1)] + edited + text[front.end(1) :]


def _append(text: str, *, path: Sequence[str], item: Any, file: str, first_line: int) -> str:
    # Offsets count from behind a byte order mark.
    mark = text[: text.startswith("\ufeff")]
    text = text.removeprefix("\ufeff")
    document = load(text, file=file, first_line=first_line)
    expected = _with_item(document, path, item)
    edited = _with_item_added(text, document, path, item)
    if _value(edited, file) != expected:
        hint = "write it by hand:\n" + block_text({path[-1]: [item]})
        raise InputError(document.problem(path, "an item cannot be added here without changing the rest", hint))
    return mark + edited


def copied(document: Document, path: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a copy of a document's value, and of that the mapping that `path` ends in.

    Raises InputError where there is no such mapping.
    """
    whole = {} if document.value is None else copy.deepcopy(document.value)
    parent = whole
    for key in path[:-1]:
        parent = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(parent, dict):
        raise InputError(document.problem(path[:-1], "must be a mapping"))
    return whole, parent


def _with_item(document: Document, path: Sequence[str], item: Any) -> Any:
    """Return the value that the edited text must have. Raises InputError where no item can be added."""
    expected, parent = copied(document, path)
    items = [] if parent.get(path[-1]) is None else parent[path[-1]]
    if not isinstance(items, list):
        raise InputError(document.problem(path, f"`{path[-1]}` must be a list"))
    parent[path[-1]] = [*items, item]
    return expected


def _with_item_added(text: str, document: Document, path: Sequence[str], item: Any) -> str:
    parent = document.node(path[:-1])
    items = parent.children.get(path[-1])
    if parent.flow and (items is None or items.value is None):
        if items is not None:
            return text[: items.start] + " " + flow_text([item]) + text[items.end :]
        return before_end(text, parent, f"{flow_text(path[-1])}: {flow_text([item])}")
    if parent.value is None:
        return after_line(text, len(text), block_text({path[-1]: [item]}), 0)
    if items is None:
        return after_line(text, parent.end, block_text({path[-1]: [item]}), parent.column - 1)
    if items.flow:
        return before_end(text, items, flow_text(item))
    if items.value is None:
        return after_line(text[: items.start] + text[items.end :], items.start, block_text([item]), parent.column - 1)
    return after_line(text, items.end, block_text([item]), items.column - 1)


def before_end(text: str, node: Node, added: str) -> str:
    """Add an element before the bracket that ends a list or mapping in brackets."""
    inside = text[: node.end - 1]
    separator = "" if not node.value or inside.rstrip().endswith(",") else ", "
    return inside + separator + added + text[node.end - 1 :]


def after_line(text: str, offset: int, block: str, indentation: int) -> str:
    """Add whole lines after the line of the last character before `offset`."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    offset = len(text[:offset].rstrip()) if text[:offset].endswith(("\n", " ")) else offset
    offset = text.find("\n", offset) + 1 or len(text)
    before = text[:offset]
    if before and not before.endswith("\n"):
        before += line_end
    return before + textwrap.indent(block, " " * indentation).replace("\n", line_end) + text[offset:]


def _value(text: str, file: str) -> Any:
    try:
        return load(text, file=file).value
    except InputError:
        return None


def flow_text(value: Any) -> str:
    """Return a value in one line: as JSON, with escapes for characters that only JSON allows."""
    text = json.dumps(value, ensure_ascii=False)
    return REFUSED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def block_text(value: Any) -> str:
    """Return plain data as YAML that people read: a line each, texts of several lines as such, in the given order."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31, default_flow_style=False)


class _Dumper(yaml.SafeDumper):
    """Writes text so that YAML 1.2 core reads it back as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if means_text(text) else '"'
    if "\r" in text or REFUSED.search(text):
        style = '"'
    elif "\n" in text.strip():
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text_node)


REMOVED: Final = object()
"""Stands for a value: the key is removed."""

_FITS: Final = 100
_LINE_END: Final = re.compile(r"\r\n|[\n\r]")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?:#[^\n\r]*)?(?=[\n\r]|\Z)")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def differing(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the smallest edits that turn one mapping into another: a path with its value, or `REMOVED`."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and value.keys() & before.keys():
            yield from differing(before, value, (*path, key))
        elif key not in old or repr(value) != repr(before):
            yield (*path, key), value
    for key in old:
        if key not in new:
            yield (*path, key), REMOVED


def set_value(text: str, path: Sequence[str], value: Any, *, file: str) -> str:
    """Return `text` with plain data at `path`, a key of a mapping that is there; `REMOVED` removes it.

    The text of a file whose name ends in neither .yaml nor .yml is a template, with or without front matter. Raises
    InputError where the text is not valid, there is no such mapping, or something else would change.
    """
    return edit_yaml(text, partial(_set_in_yaml, path=path, value=value), file=file)


def _set_in_yaml(text: str, *, path: Sequence[str], value: Any, file: str, first_line: int) -> str:
    # Offsets count from behind a byte order mark.
    mark = text[: text.startswith("\ufeff")]
    text = text.removeprefix("\ufeff")
    document = load(text, file=file, first_line=first_line)
    expected = _with_value(document, path, value)
    for edit in (_with_value_set, _edited_in_brackets):
        edited = edit(_Text(text, first_line), document, path, value)
        if _same(edited, expected, file):
            return mark + edited
    hint = "write it by hand" if value is REMOVED else "write it by hand:\n" + block_text({path[-1]: value})
    raise InputError(document.problem(path, "this cannot be changed without changing the rest", hint))


def _with_value(document: Document, path: Sequence[str], value: Any) -> Any:
    """Return the value that the edited text must have. Raises InputError where the mapping is missing."""
    expected, parent = copied(document, path)
    if value is REMOVED:
        parent.pop(path[-1], None)
    else:
        parent[path[-1]] = value
    return expected


def _same(text: str, expected: Any, file: str) -> bool:
    try:
        found = load(text, file=file).value
    except InputError:
        return False
    # As JSON: 1, 1.0 and true are equal in Python.
    return json.dumps({} if found is None else found, sort_keys=True) == json.dumps(expected, sort_keys=True)


class _Text:
    """A YAML text with the offsets of its lines."""

    def __init__(self, text: str, first_line: int) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
        self._first_line = first_line
        self.line_end = "\r\n" if "\r\n" in text else "\n"

    def key_start(self, parent: Node, key: str) -> int:
        """Return the offset of a key."""
        line, column = parent.keys[key]
        return self._starts[line - self._first_line] + column - 1

    def line_start(self, offset: int) -> int:
        return max(start for start in self._starts if start <= offset)

    def line_after(self, offset: int) -> int:
        """Return the offset of the line after an offset."""
        return next((start for start in self._starts if start > offset), len(self.text))


def _with_value_set(source: _Text, document: Document, path: Sequence[str], value: Any) -> str:
    """Return the text with a value at a path, as a person would write it."""
    text, key = source.text, path[-1]
    parent = document.node(path[:-1])
    if parent.flow and path[:-1] and not _fits(text, parent, key, value):
        return _unfolded(source, document, path, value)
    if parent.value is None:
        return after_line(text, len(text), block_text({key: value}), 0)
    if key not in parent.children:
        if value is REMOVED:
            return text
        if parent.flow:
            return before_end(text, parent, f"{key}: {_short(value)}")
        return after_line(text, parent.end, entry_text(key, value), parent.column - 1)
    child = parent.children[key]
    if parent.flow:
        return _without(source, parent, key) if value is REMOVED else _put(text, child, _short(value))
    in_line = (child.text is not None or child.flow) and "\n" not in text[child.start : child.end]
    if value is not REMOVED and in_line:
        written = entry_text(key, value).removeprefix(f"{key}:").rstrip("\n")
        if "\n" not in written:
            return _put(text, child, written.strip())
    return _entry_replaced(source, parent, key, value)


def _edited_in_brackets(source: _Text, document: Document, path: Sequence[str], value: Any) -> str:
    """Return the text with a value in one line of brackets and quotes, which can hold all that YAML can."""
    text, key = source.text, path[-1]
    parent = document.node(path[:-1])
    if value is REMOVED or parent.value is None:
        return text
    child = parent.children.get(key)
    if child is not None:
        return _put(text, child, flow_text(value))
    added = f"{flow_text(key)}: {flow_text(value)}"
    return before_end(text, parent, added) if parent.flow else after_line(text, parent.end, added, parent.column - 1)


def _put(text: str, child: Node, written: str) -> str:
    space = "" if text[: child.start].endswith((" ", "\n", "\t")) else " "
    return text[: child.start] + space + written + text[child.end :]


def _fits(text: str, parent: Node, key: str, value: Any) -> bool:
    """Tell whether a mapping in brackets stays one line that a person reads."""
    if value is REMOVED:
        return True
    child = parent.children.get(key)
    before = parent.end - parent.start - (child.end - child.start if child else -len(key))
    return before + len(_short(value)) + parent.column <= _FITS or "#" in text[parent.start : parent.end]


def _unfolded(source: _Text, document: Document, path: Sequence[str], value: Any) -> str:
    """Return the text with a mapping in brackets as lines, each value that stays as it is written."""
    text, parent = source.text, document.node(path[:-1])
    around = document.node(path[:-2])
    slices = {key: text[child.start : child.end] for key, child in parent.children.items()}
    kept = "".join(f"{key}: {written}\n" for key, written in slices.items() if key != path[-1])
    if around.flow or "\n" in kept.rstrip("\n").replace("\n", "", len(slices)) or not _all_plain(slices):
        return text
    name = path[-2]
    comment = _REST_OF_LINE.match(text, parent.end)
    head = f"{name}:{comment.group().rstrip() if comment else ''}\n"
    block = head + textwrap.indent(kept + entry_text(path[-1], value), "  ")
    return _lines_replaced(source, around, name, block)


def _all_plain(keys: Mapping[Any, str]) -> bool:
    return all(_PLAIN_KEY.fullmatch(str(key)) for key in keys)


def _entry_replaced(source: _Text, parent: Node, key: str, value: Any) -> str:
    """Return the text with the lines of a key and its value replaced, or gone."""
    block = "" if value is REMOVED else entry_text(key, value)
    return _lines_replaced(source, parent, key, block)


def _lines_replaced(source: _Text, parent: Node, key: str, block: str) -> str:
    text, child = source.text, parent.children[key]
    start = source.key_start(parent, key)
    # Text behind the value in its last line is a comment on it, and goes too.
    content_end = start + len(text[start : child.end].rstrip())
    rest = _REST_OF_LINE.match(text, content_end)
    end = source.line_after(rest.end() if rest else content_end) if "\n" in text[content_end:] else len(text)
    if block:
        indented = textwrap.indent(block, " " * (parent.column - 1)).replace("\n", source.line_end)
        return text[: source.line_start(start)] + indented + text[end:]
    return text[: source.line_start(start)] + text[end:]


def _without(source: _Text, parent: Node, key: str) -> str:
    """Return the text without a key of a mapping in brackets."""
    text, keys = source.text, list(parent.children)
    at = keys.index(key)
    start, end = source.key_start(parent, key), parent.children[key].end
    if at + 1 < len(keys):
        return text[:start] + text[source.key_start(parent, str(keys[at + 1])) :]
    before = parent.children[keys[at - 1]].end if at else start
    return text[:before] + text[end:]


def entry_text(key: str, value: Any) -> str:
    """Return a key with its value as readable YAML: a short value in one line, else a line for each part."""
    if isinstance(value, Mapping | list):
        line = f"{key}: {_short(value)}"
        if len(line) <= _FITS and "\\" not in line:
            return line + "\n"
    return block_text({key: value})


def _short(value: Any) -> str:
    """Return plain data in one line, quoted only where it must be."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_short(str(key))}: {_short(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, str) and _PLAIN_KEY.fullmatch(value):
        return block_text([value])[2:].rstrip("\n")
    return flow_text(value)
