"""Finds and loads prompts: a file with its parents and parts, and all of their problems."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem, nearest, place
from promptkit.project import Project
from promptkit.prompts.front_matter import PromptInput, read_front, split_front_matter
from promptkit.prompts.parsing import PART, PROMPT, Parsed, Reference, parse_inline
from promptkit.prompts.prompt import Prompt
from promptkit.prompts.sandbox import GLOBALS
from promptkit.prompts.sections import BLOCKS, CALL, RESERVED
from promptkit.prompts.template_loader import SECTIONS_FILE, TemplateLoader
from promptkit.storage.models import Problems
from promptkit.storage.yaml import Document


class BrokenPrompt(InputError):
    """The problems of a prompt. `prompt` is the valid part of it, so that its surroundings can be checked."""

    def __init__(self, problems: Iterable[Problem], prompt: Prompt) -> None:
        super().__init__(problems)
        self.prompt = prompt


@dataclass
class _PromptParts:
    """The files and sections that a prompt is made of, its root parent first."""

    is_layer: bool = False
    problems: Problems = field(default_factory=Problems)
    chain: list[Parsed] = field(default_factory=list)
    parts: list[Parsed] = field(default_factory=list)
    files: dict[Path, None] = field(default_factory=dict)
    fronts: list[Document] = field(default_factory=list)
    usable: list[Collection[str]] = field(default_factory=list)
    inputs: dict[str, PromptInput] = field(default_factory=dict)


class Prompts:
    """A snapshot of a project's prompt files. Each file is read once, so that a run sees no edit half-way.

    Make a new one after an edit. That is cheap: compiled templates are cached by content.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._loader = TemplateLoader(project)
        self._loaded: dict[Path, Prompt] = {}

    def load(self, name: str | Path, *, beside: Path | None = None, at: Problem | None = None) -> Prompt:
        """Return the checked prompt of that name or path. `at` is the place that names it, for the error of an unknown
        one.

        Raises InputError with every problem of the prompt and its parents.
        """
        path = name if isinstance(name, Path) else self._path(name, beside, at or Problem(""))
        if path not in self._loaded:
            gathered = _PromptParts()
            self._add_file(path, gathered, ())
            self._loaded[path] = self._prompt(path.stem, path, f"{PROMPT}{path}", gathered)
        return self._loaded[path]

    def inline(self, value: str | Mapping[str, Any], document: Document, path: Sequence[str | int]) -> Prompt:
        """Return the prompt written in a pipeline at `path`: a string (its instructions), or a mapping of sections.

        The names that it uses are its inputs. Raises InputError with every problem.
        """
        gathered = _PromptParts()
        sections = tuple(_inline_sections(value, document, path, gathered.problems))
        name = ".".join(map(str, path))
        entry = f"{PROMPT}{Path(document.file).absolute()}#{name}#{abs(hash(sections))}"
        parsed = parse_inline(sections, document.file)
        self._loader.add_inline(entry, parsed)
        self._add(parsed, Path(document.file).absolute(), gathered, ())
        written = {section: text for section, text, _ in sections}
        try:
            return replace(self._prompt(name, None, entry, gathered), document=document, inline=written)
        except BrokenPrompt as broken:
            raise BrokenPrompt(broken.problems, replace(broken.prompt, document=document, inline=written)) from None

    def check_layer(self, path: Path) -> None:
        """Check a technique's template, which may use `call.` and none of the user's inputs. Raises InputError."""
        gathered = _PromptParts(is_layer=True)
        parsed = self._loader.parsed(f"{PROMPT}{path}")
        self._add(parsed, path, gathered, (path,))
        if parsed.tree is not None and not any(reference.role == PROMPT for reference in parsed.references):
            message = "this call leaves out the user's prompt: its template does not extend it"
            gathered.problems.add(Problem(message, parsed.file, 1, hint="begin it with `{% extends prompt %}`"))
        for name, spot in parsed.names.items():
            if name != CALL and name not in GLOBALS:
                hint = f"a technique's own values are under `{CALL}.`"
                gathered.problems.add(replace(spot, message=f"`{name}` is undefined", hint=hint))
        gathered.problems.check()

    def layer_parts(self, path: Path) -> tuple[Path, ...]:
        """Return the files that a technique's template includes or imports, even where it is broken."""
        gathered = _PromptParts(is_layer=True)
        with gathered.problems.gather():
            self._add(self._loader.parsed(f"{PROMPT}{path}"), path, gathered, (path,))
        return tuple(gathered.files)

    def _path(self, name: str, beside: Path | None, at: Problem) -> Path:
        try:
            found = self.project.find_prompt(name, beside=beside)
        except InputError as error:
            raise InputError(_moved_to(at, problem) for problem in error.problems) from error
        if found is None:
            hint = nearest(name, self.project.names("prompts"))
            raise InputError(replace(at, message=f"there is no prompt `{name}`", hint=hint))
        return found

    def _add_file(self, path: Path, gathered: _PromptParts, above: tuple[Path, ...]) -> None:
        """Add a prompt's file: its parents, itself, then its front matter."""
        gathered.files[path] = None
        with gathered.problems.gather():
            text = self._loader.text(path)
            parsed = self._loader.parsed(f"{PROMPT}{path}")
            self._add(parsed, path, gathered, (*above, path))
            document, _, _ = split_front_matter(text, str(place(path)))
            if document is not None:
                inputs, usable = read_front(document, gathered.problems)
                gathered.fronts.append(document)
                gathered.usable.append(usable)
                gathered.inputs.update(inputs)

    def _add(self, parsed: Parsed, path: Path, gathered: _PromptParts, above: tuple[Path, ...]) -> None:
        gathered.problems.add(parsed.problems)
        for reference in parsed.references:
            if not reference.name:
                if not gathered.is_layer:
                    hint = "only a technique's template lies on a `prompt`; name the parent in quotes"
                    message = "`prompt` is not the name of a prompt"
                    gathered.problems.add(Problem(message, parsed.file, reference.line, hint=hint))
                continue
            found = self._loader.find(reference.name, path.parent)
            if isinstance(found, Problem):
                if not reference.optional:
                    gathered.problems.add(_moved_to(Problem("", parsed.file, reference.line), found))
            else:
                self._add_reference(reference, found, parsed, gathered, above)
        gathered.chain.append(parsed)

    def _add_reference(
        self, reference: Reference, found: Path, parsed: Parsed, gathered: _PromptParts, above: tuple[Path, ...]
    ) -> None:
        if reference.role == PART:
            self._add_part(found, gathered)
        elif found == SECTIONS_FILE:
            return
        elif found in above:
            message = f"`{reference.name}` extends this prompt, which extends it"
            gathered.problems.add(Problem(message, parsed.file, reference.line))
        else:
            self._add_file(found, gathered, above)

    def _add_part(self, path: Path, gathered: _PromptParts) -> None:
        """Add a file that is included or imported, and the files that it includes."""
        if path in gathered.files:
            return
        gathered.files[path] = None
        with gathered.problems.gather():
            parsed = self._loader.parsed(f"{PART}{path}")
            gathered.problems.add(parsed.problems)
            gathered.parts.append(parsed)
            for reference in parsed.references:
                found = self._loader.find(reference.name, path.parent)
                if isinstance(found, Path):
                    self._add_part(found, gathered)
                elif not reference.optional:
                    gathered.problems.add(_moved_to(Problem("", parsed.file, reference.line), found))

    def _prompt(self, name: str, file: Path | None, entry: str, gathered: _PromptParts) -> Prompt:
        """Check a prompt as a whole and return it."""
        exports = frozenset[str]().union(*(parsed.exports for parsed in gathered.chain))
        free = {
            name: spot
            for parsed in gathered.chain
            for name, spot in parsed.names.items()
            if name not in exports | GLOBALS
        }
        declared = any("inputs" in (front.value or {}) for front in gathered.fronts if isinstance(front.value, dict))
        inputs = gathered.inputs if declared else {name: PromptInput() for name in free if name not in RESERVED}
        for unknown, spot in free.items():
            if unknown not in inputs:
                hint = _reserved_hint(unknown) or nearest(unknown, inputs) or "declare it under `inputs:`"
                gathered.problems.add(replace(spot, message=f"`{unknown}` is not an input of this prompt", hint=hint))
        settings, origins = _merged_settings(gathered.fronts, gathered.usable)
        blocks = frozenset[str]().union(*(parsed.blocks for parsed in gathered.chain))
        if settings.get("examples") and "input" not in blocks:
            hint = "put the input into `{% block input %}{{ … }}{% endblock %}`; examples are shown the same way"
            message = "there are examples, but no section `input` to show their input"
            gathered.problems.add(origins[("examples",)].problem(("examples",), message, hint, key=True))
        borrowed = {name for part in gathered.parts for name in part.names if name in inputs}
        prompt = Prompt(
            name=name,
            file=file,
            about=settings.pop("about", None) or "",
            inputs=inputs,
            settings=settings,
            files=(*gathered.files, SECTIONS_FILE),
            document=_own_front(file, gathered.fronts),
            blocks=blocks,
            used=frozenset(free) | borrowed,
            origins=origins,
            entry=entry,
            loader=self._loader,
        )
        try:
            gathered.problems.check()
        except InputError as error:
            raise BrokenPrompt(error.problems, prompt) from None
        return prompt


def _own_front(file: Path | None, fronts: Sequence[Document]) -> Document | None:
    return fronts[-1] if fronts and fronts[-1].file == str(place(file)) else None


def _moved_to(spot: Problem, problem: Problem) -> Problem:
    """Return a problem at the place of the name that caused it."""
    return replace(spot, message=problem.message, hint=problem.hint)


def _reserved_hint(name: str) -> str | None:
    return f"`{name}` is reserved for techniques" if name in RESERVED else None


def _merged_settings(
    fronts: Sequence[Document], usable: Sequence[Collection[str]]
) -> tuple[dict[str, Any], dict[tuple[str, ...], Document]]:
    """Return the settings of a prompt and its parents (root first), and the document of each key."""
    settings: dict[str, Any] = {}
    origins: dict[tuple[str, ...], Document] = {}
    for front, keys in zip(fronts, usable, strict=True):
        for key in (key for key in front.value if key in keys) if isinstance(front.value, dict) else ():
            value = front.value[key]
            origins[(key,)] = front
            if key == "inputs":
                origins.update({(key, name): front for name in value or {}})
            else:
                settings[key] = value
    return settings, origins


def _inline_sections(
    value: str | Mapping[str, Any], document: Document, path: Sequence[str | int], problems: Problems
) -> Iterator[tuple[str, str, int]]:
    """Yield the name, text and first line of each section of an inline prompt."""
    if isinstance(value, str):
        yield "instructions", value, _first_line(value, document, path)
        return
    for name, text in value.items():
        if name not in BLOCKS:
            problems.add(
                document.problem((*path, name), f"there is no section `{name}`", nearest(name, BLOCKS), key=True)
            )
        elif isinstance(text, str):
            yield name, text, _first_line(text, document, (*path, name))
        elif text is not None:
            problems.add(document.problem((*path, name), "a section is a text"))


def _first_line(text: str, document: Document, path: Sequence[str | int]) -> int:
    # A text of several lines is a block that starts on the line below its key.
    return document.at(path)[0] + ("\n" in text)
