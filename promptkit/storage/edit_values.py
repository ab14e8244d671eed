"""Values of a user's YAML set and taken away; the rest of the text stays as it is.

As when an item is added, the text is changed at the place of a node and read again: an edit that would change anything
else is refused.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from promptkit.errors import InputError
from promptkit.storage.edit import after_line, before_end, block_text, copied, edit_yaml, flow_text
from promptkit.storage.nodes import Node
from promptkit.storage.yaml import Document, load

TAKEN_AWAY: Final = object()
"""In place of a value: the key goes."""

_FITS: Final = 100
_LINE_END: Final = re.compile(r"\r\n|[\n\r]")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?:#[^\n\r]*)?(?=[\n\r]|\Z)")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def set_value(text: str, path: Sequence[str], value: Any, *, file: str) -> str:
    """Return `text` with plain data at `path`, a key of a mapping that is there; `TAKEN_AWAY` takes it away.

    The text of a file whose name ends in neither .yaml nor .yml is a template, with or without front matter. Raises
    InputError where the text is not valid, there is no such mapping, or something else would change.
    """
    return edit_yaml(text, partial(_set, path=path, value=value), file=file)


def _set(text: str, *, path: Sequence[str], value: Any, file: str, first_line: int) -> str:
    # Offsets count from behind a byte order mark.
    mark = text[: text.startswith("\ufeff")]
    text = text.removeprefix("\ufeff")
    document = load(text, file=file, first_line=first_line)
    wanted = _with_value(document, path, value)
    for edit in (_edited, _edited_in_brackets):
        edited = edit(_Text(text, first_line), document, path, value)
        if _same(edited, wanted, file):
            return mark + edited
    hint = "write it by hand" if value is TAKEN_AWAY else "write it by hand:\n" + block_text({path[-1]: value})
    raise InputError(document.problem(path, "this cannot be changed without changing the rest", hint))


def _with_value(document: Document, path: Sequence[str], value: Any) -> Any:
    """Return what the edited text must say. Raises InputError where the mapping is missing."""
    wanted, parent = copied(document, path)
    if value is TAKEN_AWAY:
        parent.pop(path[-1], None)
    else:
        parent[path[-1]] = value
    return wanted


def _same(text: str, wanted: Any, file: str) -> bool:
    try:
        found = load(text, file=file).value
    except InputError:
        return False
    # As JSON: 1, 1.0 and true are equal in Python.
    return json.dumps({} if found is None else found, sort_keys=True) == json.dumps(wanted, sort_keys=True)


class _Text:
    """A YAML text with the offsets of its lines."""

    def __init__(self, text: str, first_line: int) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
        self._first_line = first_line
        self.line_end = "\r\n" if "\r\n" in text else "\n"

    def key_start(self, parent: Node, key: str) -> int:
        """Return where a key begins."""
        line, column = parent.keys[key]
        return self._starts[line - self._first_line] + column - 1

    def line_start(self, offset: int) -> int:
        return max(start for start in self._starts if start <= offset)

    def line_after(self, offset: int) -> int:
        """Return where the line after an offset begins."""
        return next((start for start in self._starts if start > offset), len(self.text))


def _edited(source: _Text, document: Document, path: Sequence[str], value: Any) -> str:
    """Return the text with a value at a path, as a person would write it."""
    text, key = source.text, path[-1]
    parent = document.node(path[:-1])
    if parent.flow and path[:-1] and not _fits(text, parent, key, value):
        return _unfolded(source, document, path, value)
    if parent.value is None:
        return after_line(text, len(text), block_text({key: value}), 0)
    if key not in parent.children:
        if value is TAKEN_AWAY:
            return text
        if parent.flow:
            return before_end(text, parent, f"{key}: {_short(value)}")
        return after_line(text, parent.end, entry_text(key, value), parent.column - 1)
    child = parent.children[key]
    if parent.flow:
        return _without(source, parent, key) if value is TAKEN_AWAY else _put(text, child, _short(value))
    in_line = (child.text is not None or child.flow) and "\n" not in text[child.start : child.end]
    if value is not TAKEN_AWAY and in_line:
        written = entry_text(key, value).removeprefix(f"{key}:").rstrip("\n")
        if "\n" not in written:
            return _put(text, child, written.strip())
    return _entry_replaced(source, parent, key, value)


def _edited_in_brackets(source: _Text, document: Document, path: Sequence[str], value: Any) -> str:
    """Return the text with a value in one line of brackets and quotes, which can hold all that YAML can."""
    text, key = source.text, path[-1]
    parent = document.node(path[:-1])
    if value is TAKEN_AWAY or parent.value is None:
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
    if value is TAKEN_AWAY:
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
    own = path[-2]
    comment = _REST_OF_LINE.match(text, parent.end)
    head = f"{own}:{comment.group().rstrip() if comment else ''}\n"
    block = head + textwrap.indent(kept + entry_text(path[-1], value), "  ")
    return _lines_replaced(source, around, own, block)


def _all_plain(keys: Mapping[Any, str]) -> bool:
    return all(_PLAIN_KEY.fullmatch(str(key)) for key in keys)


def _entry_replaced(source: _Text, parent: Node, key: str, value: Any) -> str:
    """Return the text with the lines of a key and its value replaced, or gone."""
    block = "" if value is TAKEN_AWAY else entry_text(key, value)
    return _lines_replaced(source, parent, key, block)


def _lines_replaced(source: _Text, parent: Node, key: str, block: str) -> str:
    text, child = source.text, parent.children[key]
    start = source.key_start(parent, key)
    # What is behind the value in its last line is a comment on what goes.
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
    """Return a key with its value as YAML that people read: what is short in one line, else a line each."""
    if isinstance(value, Mapping | list):
        line = f"{key}: {_short(value)}"
        if len(line) <= _FITS and "\\" not in line:
            return line + "\n"
    return block_text({key: value})


def _short(value: Any) -> str:
    """Return plain data in one line, quoted no more than it must be."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_short(str(key))}: {_short(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_short, value)) + "]"
    if isinstance(value, str) and _PLAIN_KEY.fullmatch(value):
        return block_text([value])[2:].rstrip("\n")
    return flow_text(value)
