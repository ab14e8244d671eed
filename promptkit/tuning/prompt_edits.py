"""Edits of a step's prompt: the source of its sections, and a child prompt in which some are replaced."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment

from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.prompts.front_matter import split_front_matter
from promptkit.prompts.prompt import Prompt
from promptkit.prompts.sections import BLOCKS
from promptkit.storage.files import make_folder, write_atomic
from promptkit.storage.hashes import content_key

INSTRUCTIONS: Final = "instructions"
"""The section that teachers and optimizers rewrite."""
FOLDER: Final = Path("tuning") / "prompts"
"""The folder of child prompts in the project's store."""
HASH_BYTES: Final = 6
_LEXER: Final = Environment(keep_trailing_newline=True)
_OTHER_FILES: Final = frozenset({"include", "import", "from"})
_SUPER: Final = ("super", "(", ")")


def section_source(prompt: Prompt, section: str) -> str | None:
    """Return the template source of a section, stripped, from the prompt or the nearest parent that writes it.

    `super()` is replaced by its source. None if there is no such section, if it is blank, and if it cannot be moved to
    another file because it names files or does more with `super()` than print it.
    """
    source = prompt.inline.get(section) if prompt.file is None else _section_source(prompt, prompt.file, section)
    return (source or "").strip() or None


def edit_sections(pipeline: Pipeline, step: str, sections: Mapping[str, str]) -> dict[str, Any]:
    """Return the changes, as in `--set`, that replace sections of a step's prompt; a blank source drops a section.

    A prompt in a file gets a child that extends it, in the store's folder, with a hash of its content in its name; a
    child is replaced by another child of the same parent. A prompt in the pipeline is changed there. Raises InputError
    if the target is not in a project of the person's own.
    """
    prompt = pipeline.steps[step].prompt
    assert prompt is not None, "only a step that asks has a prompt"
    if prompt.file is None:
        return {f"{step}.prompt": {**prompt.inline, **sections}}
    folder = pipeline.project.store_folder / FOLDER
    if not pipeline.project.inside(folder):
        hint = "copy it into a folder with a `promptkit.yaml` and tune it there"
        raise InputError(Problem(f"`{pipeline.name}` is a shipped file: its prompts cannot be changed", hint=hint))
    parent, blocks = prompt.file, dict(sections)
    if parent.parent == folder.resolve():
        child = _template_source(prompt, parent)
        parent, blocks = _parent_file(prompt, parent, child), {**child.blocks, **sections}
    path = _child_prompt(parent, blocks, folder, pipeline.project)
    return {f"{step}.prompt": Path(os.path.relpath(path, pipeline.file.parent)).as_posix()}


def _child_prompt(parent: Path, blocks: Mapping[str, str], folder: Path, project: Project) -> Path:
    """Write the prompt that extends `parent` with `blocks`, unless it exists."""
    lines = [f'{{% extends "{_parent_name(parent, folder, project)}" %}}']
    for name in sorted(blocks, key=BLOCKS.index):
        source = blocks[name].strip()
        lines += [f"{{% block {name} %}}", *([source] if source else []), "{% endblock %}"]
    text = "\n".join(lines) + "\n"
    digest = content_key(text, HASH_BYTES).hex()
    path = folder / f"{parent.stem}.{digest}.j2"
    if not path.is_file():
        make_folder(path.parent)
        write_atomic(path, text)
    return path.resolve()


def _parent_name(parent: Path, folder: Path, project: Project) -> str:
    """Return the name of a parent for a child in `folder`: its own name if that resolves to it, otherwise its path."""
    if project.find_prompt(parent.name) == parent and not (folder / parent.name).exists():
        return parent.name
    return Path(os.path.relpath(parent, folder.resolve())).as_posix()


@dataclass(frozen=True, slots=True)
class _TemplateSource:
    """A prompt file's own source: the parent that it names, and its blocks.

    `fixed` blocks cannot move to another file.
    """

    parent: str | None = None
    blocks: Mapping[str, str] = field(default_factory=dict)
    fixed: frozenset[str] = frozenset()


def _section_source(prompt: Prompt, file: Path, section: str) -> str | None:
    written = _template_source(prompt, file)
    if section in written.fixed:
        return None
    above = _section_source(prompt, _parent_file(prompt, file, written), section) if written.parent else None
    if section not in written.blocks:
        return above
    parts = list(_template_parts(written.blocks[section]))
    return "".join((above or "").strip() if part.is_super else part.text for part in parts)


def _parent_file(prompt: Prompt, file: Path, written: _TemplateSource) -> Path:
    parent = prompt.loader.find(written.parent or "", file.parent)
    if isinstance(parent, Problem):
        raise InputError(parent)
    return parent


def _template_source(prompt: Prompt, file: Path) -> _TemplateSource:
    _, body, _ = split_front_matter(prompt.loader.text(file), str(file))
    parts = list(_template_parts(body))
    # A file without blocks consists of instructions.
    opened = [] if any(part.tag in ("block", "extends") for part in parts) else ["instructions"]
    blocks, parent, fixed = dict.fromkeys(opened, ""), None, set()
    for part in parts:
        tag = part.tag
        if tag == "endblock" and opened:
            opened.pop()
        if opened:
            blocks[opened[0]] += part.text
            if tag in _OTHER_FILES or (not part.is_super and "super" in part.words):
                fixed.add(opened[0])
        if tag == "block":
            opened.append(part.words[1])
            blocks.setdefault(opened[0], "")
        elif tag == "extends":
            parent = part.words[1].strip("\"'")
    return _TemplateSource(parent, blocks, frozenset(fixed))


@dataclass(frozen=True, slots=True)
class _TemplatePart:
    """A tag, an expression, or text between them; `words` are the tokens inside its braces."""

    kind: str
    text: str
    words: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        return self.words[0] if self.kind == "block" and self.words else ""

    @property
    def is_super(self) -> bool:
        return self.kind == "variable" and self.words == _SUPER


def _template_parts(source: str) -> Iterator[_TemplatePart]:
    """Yield a template's source in parts that join to the source. Raises Jinja's errors for a broken template."""
    kind, text = "", ""
    words: list[str] = []
    for _, token, value in _LEXER.lex(source):
        begins = token in ("block_begin", "variable_begin")
        if begins:
            kind, text, words = token.removesuffix("_begin"), "", []
        if not kind:
            yield _TemplatePart("data", value)
            continue
        text += value
        if token in ("block_end", "variable_end"):
            yield _TemplatePart(kind, text, tuple(words))
            kind = ""
        elif not begins and token != "whitespace":
            words.append(value)
