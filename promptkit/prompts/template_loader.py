"""Templates that refer to each other: how each is found, how layers are stacked on a prompt, how data is escaped.

A template's name is its role and path, followed by those of everything beneath it, outermost first. So one layer file
can lie on two prompts, or twice on one, and `{% extends prompt %}` always means the next name in the stack.

A layout's delimiters (`</INPUT>`, `## Input`) get a backslash where they come from data. The author of a template may
write them: those are marked before rendering, and the marks pass through filters, macros and parents. A delimiter in
the rendered section without a mark comes from data.
"""

from __future__ import annotations

import marshal
import os
import re
import secrets
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound, nodes

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.project import LIBRARY, Project
from promptkit.prompts.limits import budget, joined
from promptkit.prompts.parsing import PART, PROMPT, ROOT, Parsed, Role, parse
from promptkit.prompts.sandbox import ENVIRONMENT, PromptEnvironment, rendering_problem, syntax_problem
from promptkit.prompts.sections import CALL
from promptkit.runtimes.control_tokens import backslashed
from promptkit.storage.files import Stamp, file_stamp, read_text, resolved

SECTIONS_FILE: Final = LIBRARY / "templates" / "prompts" / "sections.j2"
_BENEATH: Final = "\0"
_LONGEST_KEPT: Final = 20_000
"""Bytes of values up to which rendered text is cached: static parts are short, and the same in every request."""


class TemplateLoader(BaseLoader):
    """Reads each file of a project once, and compiles the templates that are rendered."""

    def __init__(self, project: Project | None) -> None:
        self.project = project
        self._environments: dict[Delimiters | None, _StackEnvironment] = {}
        self._texts: dict[Path, str] = {}
        self._inline: dict[str, Parsed] = {}
        self._found: dict[tuple[str, Path], Path | Problem] = {}

    def text(self, path: Path) -> str:
        """Return a file's text, as it was when first read. Raises InputError."""
        if path not in self._texts:
            self._texts[path] = read_text(path)
        return self._texts[path]

    def parsed(self, entry: str) -> Parsed:
        """Return the parsed template of one name in a stack. Raises InputError where its file cannot be read."""
        if entry in self._inline:
            return self._inline[entry]
        role: Role = PROMPT if entry.startswith(PROMPT) else PART
        path = Path(entry[1:])
        return parse(self.text(path), str(place(path)), role)

    def add_inline(self, entry: str, parsed: Parsed) -> None:
        """Register an inline prompt under its name."""
        self._inline[entry] = parsed

    def find(self, name: str, beside: Path) -> Path | Problem:
        """Return the file that a name means in a template of the folder `beside`, or the problem with it."""
        key = (name, beside)
        if key not in self._found:
            self._found[key] = self._find(name, beside)
        return self._found[key]

    def _find(self, name: str, beside: Path) -> Path | Problem:
        if "\0" in name or "\n" in name:
            return Problem("a template's name is one line of text")
        if self.project is None:
            candidate = resolved(beside / name)
            if candidate.parent == resolved(beside) and os.path.isfile(candidate):
                return candidate
            return Problem(f"there is no template `{name}`")
        try:
            found = self.project.find_prompt(name, beside=beside)
        except InputError as error:
            return error.problems[0]
        if found is None:
            known = self.project.names("prompts")
            hint = nearest(name, [f"{other}.j2" for other in known] if name.endswith(".j2") else known)
            return Problem(f"there is no template `{name}`", hint=hint)
        if not self.project.inside(found):
            return Problem(f"`{name}` leads out of the project's folder", hint=f"the root is {self.project.root}")
        return found

    def template(self, name: str, delimiters: Delimiters | None = None) -> Template:
        """Return the compiled template of a stack of names, with the author's own `delimiters` marked.

        Raises InputError.
        """
        if delimiters not in self._environments:
            self._environments[delimiters] = _StackEnvironment(self, delimiters)
        try:
            return self._environments[delimiters].get_template(name)
        except InputError:
            raise
        except Exception as error:  # the error for a tree that is too deep differs by Python version
            raise InputError(syntax_problem(error, name.split(_BENEATH, 1)[0][1:])) from error

    def load(self, environment: Environment, name: str, globals: MutableMapping[str, Any] | None = None) -> Template:
        """Compile the template of a stack of names. Raises InputError and Jinja's errors."""
        entry, *beneath = name.split(_BENEATH)
        parsed = self.parsed(entry)
        delimiters = environment.delimiters if isinstance(environment, _StackEnvironment) else None
        named = delimiters if delimiters and parsed.tree and delimiters.named_in(parsed.tree) else None
        code = compile_tree(parsed, name, len(beneath), named)
        # Jinja would copy a chain of globals key by key at each rendering; no template has globals of its own.
        return environment.template_class.from_code(environment, code, environment.globals)


class _StackEnvironment(PromptEnvironment):
    def __init__(self, loader: TemplateLoader, delimiters: Delimiters | None) -> None:
        super().__init__(loader)
        self._files = loader
        self.delimiters = delimiters
        self._stacks: dict[tuple[str, str], str] = {}

    def join_path(self, template: str, parent: str) -> str:
        """Return the stack of names that a reference in `parent` means (see `parsing`)."""
        key = (template, parent)
        if key not in self._stacks:
            self._stacks[key] = self._join_path(template, parent)
        return self._stacks[key]

    def _join_path(self, template: str, parent: str) -> str:
        if template == ROOT:
            return f"{PART}{SECTIONS_FILE}"
        current, *beneath = parent.split(_BENEATH)
        role, name = template[0], template[1:]
        if not name:
            if not beneath:
                raise TemplateNotFound("prompt", "only a technique's template lies on a `prompt`")
            return _BENEATH.join(beneath)
        found = self._files.find(name, Path(current[1:]).parent)
        if isinstance(found, Problem):
            raise TemplateNotFound(name, found.message)
        if found == SECTIONS_FILE and role == PROMPT:
            return f"{PART}{SECTIONS_FILE}"
        return _BENEATH.join((f"{role}{found}", *beneath))


def stack(entry: str, layers: Sequence[Path]) -> str:
    """Return the stack name of a prompt with layers on it, the last one outermost."""
    return _BENEATH.join((*(f"{PROMPT}{file}" for file in reversed(layers)), entry))


def call_variable(depth: int) -> str:
    """Return the variable for `call` in the layer with `depth` templates beneath it: each layer has its own."""
    return f"{CALL}__{depth}"


@lru_cache(maxsize=1_000)
def compile_tree(parsed: Parsed, name: str, depth: int = 0, delimiters: Delimiters | None = None) -> CodeType:
    """Compile a template to code, with the author's `delimiters` marked. Raises InputError for broken syntax."""
    if parsed.tree is None or parsed.problems:
        raise InputError(parsed.problems)
    tree = parsed.tree
    if depth and CALL in parsed.names:
        tree = deepcopy(tree)
        for node in tree.find_all(nodes.Name):
            if node.name == CALL:
                node.name = call_variable(depth)
    if delimiters:
        tree = delimiters.marked(tree)
    code: CodeType = ENVIRONMENT.compile(tree, name, parsed.file)
    return code


def render_blocks(
    template: Template, values: Mapping[str, Any], names: Sequence[str], delimiters: Delimiters | None = None
) -> dict[str, str]:
    """Return the stripped text of each requested block that is not blank. Raises InputError with file and line.

    `delimiters` are those that the template was loaded with; they are escaped where they come from `values`.
    """
    try:
        with budget():
            context = template.new_context(dict(values))
            # The root runs for what it sets and imports; the blocks are then rendered one by one.
            for _ in template.root_render_func(context):
                pass
            texts = {}
            for name in names:
                written = context.blocks[name]
                # The last one is the empty block of `sections.j2`.
                text = joined(written[0](context)).strip() if len(written) > 1 else ""
                if text:
                    texts[name] = delimiters.settled(text) if delimiters else text
            return texts
    except InputError:
        raise
    except Exception as error:  # a template can make Python raise anything
        raise InputError(rendering_problem(error, template.filename, _shown(values))) from error


def _shown(values: Mapping[str, Any]) -> list[str]:
    return [name for name in values if not name.startswith(call_variable(0)[:-1])]


def render_whole(template: Template, values: Mapping[str, Any]) -> str:
    """Return the stripped text of a template without sections. Raises InputError with file and line."""
    try:
        with budget():
            return joined(template.root_render_func(template.new_context(dict(values)))).strip()
    except InputError:
        raise
    except Exception as error:  # a template can make Python raise anything
        raise InputError(rendering_problem(error, template.filename, _shown(values))) from error


@lru_cache(maxsize=100)
def _self_contained_template(path: Path, text: str) -> Template | None:
    """Return the compiled template of a text that names no other templates, else None."""
    return None if _parsed_part(path, text).references else _template(path)


def _template(path: Path) -> Template:
    return TemplateLoader(None).template(f"{PART}{path}")


def _parsed_part(path: Path, text: str) -> Parsed:
    parsed = parse(text, str(place(path)), PART)
    if parsed.problems:
        raise InputError(parsed.problems)
    return parsed


_texts: dict[Path, tuple[Stamp, str]] = {}


def current_text(path: Path) -> str:
    """Return a file's text, cached until its time or size changes. Raises InputError."""
    stamp = file_stamp(path)
    if stamp is None:
        return read_text(path)
    known = _texts.get(path)
    if known is None or known[0] != stamp:
        known = _texts[path] = (stamp, read_text(path))
    return known[1]


def render_file(path: Path, values: Mapping[str, Any]) -> str:
    """Render a template file in the sandbox, without its front matter, and return the stripped text.

    It may include or import files of its own folder. Raises InputError with file and line.
    """
    return render_text(path, current_text(path), values)


def is_self_contained(path: Path, text: str) -> bool:
    """Return True where a template's `text` names no other templates. Raises InputError."""
    return _self_contained_template(path, text) is not None


def render_text(path: Path, text: str, values: Mapping[str, Any]) -> str:
    """Render the `text` of a template file, as `render_file` does."""
    template = _self_contained_template(path, text)
    packed = pack(values)
    if template is None or packed is None or len(packed) > _LONGEST_KEPT:
        return render_whole(template or _template(path), values)
    return _render_cached(path, text, packed)


@lru_cache(maxsize=500)
def _render_cached(path: Path, text: str, packed: bytes) -> str:
    template = _self_contained_template(path, text)
    assert template is not None, "only templates that name no others are rendered once for all"
    return render_whole(template, marshal.loads(packed))


def pack(value: Any) -> bytes | None:
    """Return plain data as bytes that are equal only for equal data; None for data that is not plain."""
    try:
        return marshal.dumps(value, 2)
    except ValueError:
        return None


_MARK: Final = f"\ue000{secrets.token_hex(8)}\ue001"
"""Marks a delimiter that the author wrote. It is random in each process, so that no data can contain it."""

_BREAKS: Final = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BEGIN: Final = rf"(?<![^{_BREAKS}])[^\S{_BREAKS}]*"
_END: Final = rf"[^\S{_BREAKS}]*(?![^{_BREAKS}])"


@dataclass(frozen=True, slots=True, eq=False)
class Delimiters:
    """Finds a layout's delimiters in a text. Each delimiter holds one of `words`, which are faster to search for.

    Caches use the object as their key, one for each layout, because comparing patterns is slow.
    """

    pattern: re.Pattern[str]
    words: tuple[str, ...]

    @classmethod
    def of(
        cls, *, tags: Iterable[str] = (), headings: Iterable[str] = (), prefixes: Iterable[str] = ()
    ) -> Delimiters | None:
        """Return a finder of tags by name, of heading lines with or without a number, and of line prefixes. None
        without any of them.
        """
        forms = (
            (r"</?(?:{})\s*>", tags),
            (rf"{_BEGIN}(?:{{}})(?:[ ]\d+)?{_END}", headings),
            (rf"{_BEGIN}(?:{{}})", prefixes),
        )
        found = [form.format("|".join(map(re.escape, names))) for form, names in forms if names]
        return cls(re.compile("|".join(found)), (*tags, *headings, *prefixes)) if found else None

    def escaped(self, text: str) -> str:
        """Return data with a backslash in each delimiter."""
        return self.pattern.sub(backslashed, text) if any(word in text for word in self.words) else text

    def settled(self, rendered: str) -> str:
        """Return a rendered text: the author's delimiters unmarked, all others with a backslash."""
        return self.escaped(rendered).replace(_MARK, "")

    def named_in(self, tree: nodes.Template) -> bool:
        """Return True where the author of a template writes a delimiter."""
        return any(self.pattern.search(text.data) for text in tree.find_all(nodes.TemplateData))

    def marked(self, tree: nodes.Template) -> nodes.Template:
        """Return a copy of a template's tree with the author's delimiters marked."""
        tree = deepcopy(tree)
        for text in tree.find_all(nodes.TemplateData):
            text.data = self.pattern.sub(lambda found: backslashed(found, _MARK), text.data)
        return tree
