"""Edits of a user's YAML that leave the rest of the text as it is.

The text is changed at the place of a node, then read again: an edit that would change anything else is refused.
"""

from __future__ import annotations

import copy
import json
import re
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

import yaml

from promptkit.errors import InputError, Problem
from promptkit.storage.nodes import Node, means_text
from promptkit.storage.yaml import REFUSED, Document, load

_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)(?<![^\n])---[ \t]*(?:\r?\n|$)", re.DOTALL)


def append_item(text: str, path: Sequence[str], item: Any, *, file: str) -> str:
    """Return `text` with `item` (plain data) added to the list at `path`; a missing last key is made.

    The text of a file whose name ends in neither .yaml nor .yml is a template, with or without front matter. Raises
    InputError where the text is not valid or the place holds something else than a list.
    """
    return edit_yaml(text, partial(_append, path=path, item=item), file=file)


class Edit(Protocol):
    """What returns a YAML text edited. `first_line` is the line of `file` that the text begins on."""

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
    wanted = _with_item(document, path, item)
    edited = _edited(text, document, path, item)
    if _value(edited, file) != wanted:
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
    wanted, parent = copied(document, path)
    items = [] if parent.get(path[-1]) is None else parent[path[-1]]
    if not isinstance(items, list):
        raise InputError(document.problem(path, f"`{path[-1]}` must be a list"))
    parent[path[-1]] = [*items, item]
    return wanted


def _edited(text: str, document: Document, path: Sequence[str], item: Any) -> str:
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
    """Return a value in one line: as JSON, with escapes for what only JSON allows as it is."""
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
