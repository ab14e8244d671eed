"""From the text of a template file to a checked syntax tree.

A prompt's tree is completed: it gets the parent `sections.j2`, and a block `instructions` around a text without blocks.
The names of other templates must be literals, so that the dependencies of a prompt are known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal

from jinja2 import TemplateError, meta, nodes

from promptkit.errors import Problem, nearest
from promptkit.prompts.front_matter import cut_front_matter
from promptkit.prompts.sandbox import ENVIRONMENT, guard, syntax_problem
from promptkit.prompts.sections import BENEATH, BLOCKS

MAX_SOURCE: Final = 200_000
MAX_LINE: Final = 1_000
"""Length of lines beyond which no column is searched."""

Role = Literal[">", "="]
PROMPT: Final = ">"
PART: Final = "="
"""The first letter of a template's name: a prompt or a layer over one, or a text that is included or imported."""

ROOT: Final = "sections"
"""The reference to the parent of all prompts, the only one without a role."""

_Naming = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport
_PRINTING: Final = (nodes.Include, nodes.CallBlock, nodes.FilterBlock)
_BRANCHING: Final = (nodes.If, nodes.For, nodes.With, nodes.Scope)


@dataclass(frozen=True, slots=True)
class Reference:
    """A template that another one names. An empty name is the prompt beneath a layer."""

    role: Role
    name: str
    line: int
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Parsed:
    """A parsed template file. `tree` is None where the syntax is broken. `names` maps its free variables to their first
    place; `exports` are the names that its top level defines for all blocks.
    """

    file: str
    role: Role
    tree: nodes.Template | None
    problems: tuple[Problem, ...] = ()
    references: tuple[Reference, ...] = ()
    names: Mapping[str, Problem] = field(default_factory=dict)
    exports: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()


@lru_cache(maxsize=500)
def parse(text: str, file: str, role: Role) -> Parsed:
    """Parse a template file and check everything that can be checked in it alone. Never raises."""
    _, body, first_line = cut_front_matter(text)
    if len(body) > MAX_SOURCE:
        return Parsed(file, role, None, (Problem(f"longer than {MAX_SOURCE:,} characters", file),))
    # A comment in place of the front matter keeps the line numbers.
    margin = "{#" + "\n" * (first_line - 1) + "#}" if first_line > 1 else ""
    tree = _tree(margin + body, file)
    if isinstance(tree, Problem):
        return Parsed(file, role, None, (tree,))
    return _check(tree, file, role, text.splitlines())


def block_names(text: str, file: str) -> frozenset[str]:
    """Return the sections that a technique's template writes; none where its syntax is broken."""
    return parse(text, file, PROMPT).blocks


@lru_cache(maxsize=500)
def parse_inline(sections: tuple[tuple[str, str, int], ...], file: str) -> Parsed:
    """Parse an inline prompt, given as name, text and first line of each section. Never raises."""
    blocks: list[nodes.Node] = []
    problems: list[Problem] = []
    for name, text, line in sections:
        tree = _tree(text, file)
        if isinstance(tree, Problem):
            problems.append(Problem(tree.message, file, (tree.line or 1) + line - 1, hint=tree.hint))
            continue
        for node in (tree, *tree.find_all(nodes.Node)):
            node.lineno += line - 1
        blocks.append(nodes.Block(name, tree.body, False, False, lineno=line))
    if problems:
        return Parsed(file, PROMPT, None, tuple(problems))
    return _check(nodes.Template(blocks, lineno=1), file, PROMPT, [])


def _tree(text: str, file: str) -> nodes.Template | Problem:
    try:
        return ENVIRONMENT.parse(text, filename=file)
    except Exception as error:  # Jinja lets a number too long for Python and the like through
        return syntax_problem(error, file)


def _check(tree: nodes.Template, file: str, role: Role, lines: list[str]) -> Parsed:
    try:
        return _Checker(file, role, lines).check(tree)
    except RecursionError as error:
        return Parsed(file, role, None, (syntax_problem(error, file),))


class _Checker:
    """Checks one tree and completes it."""

    def __init__(self, file: str, role: Role, lines: list[str]) -> None:
        self.file = file
        self.role = role
        self.lines = lines
        self.problems: list[Problem] = []

    def check(self, tree: nodes.Template) -> Parsed:
        """Return the completed and guarded tree, with all problems found."""
        blocks = frozenset(block.name for block in tree.find_all(nodes.Block))
        exports = frozenset(_bound_names(tree.body))
        self._check_filters(tree)
        references = tuple(self._references(tree))
        if self.role == PROMPT:
            self._check_blocks(tree, inside=None)
            self._complete(tree)
        tree.set_environment(ENVIRONMENT)
        names = self._names(tree, exports)
        return Parsed(self.file, self.role, guard(tree), tuple(self.problems), references, names, exports, blocks)

    def _place(self, line: int, word: str) -> Problem:
        """Return a problem without a message at a word of a line."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        searched = word and len(text) <= MAX_LINE
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) if searched else None
        return Problem("", self.file, line, found.start() + 1 if found else None)

    def _note(self, line: int, word: str, message: str, hint: str | None = None) -> None:
        place = self._place(line, word)
        self.problems.append(Problem(message, place.file, place.line, place.column, hint))

    def _check_filters(self, tree: nodes.Template) -> None:
        for node in tree.find_all((nodes.Filter, nodes.Test)):
            kind, known = (
                ("filter", ENVIRONMENT.filters) if isinstance(node, nodes.Filter) else ("test", ENVIRONMENT.tests)
            )
            if node.name not in known:
                visible = [name for name in known if name.isidentifier()]
                self._note(node.lineno, node.name, f"there is no {kind} `{node.name}`", nearest(node.name, visible))

    def _references(self, tree: nodes.Template) -> Iterator[Reference]:
        """Yield the templates that are named, and mark each reference in the tree with its role."""
        for node in _template_references(tree):
            role: Role = PROMPT if isinstance(node, nodes.Extends) else PART
            name = node.template
            if isinstance(node, nodes.Extends) and (self.role == PART or node not in tree.body):
                self._note(node.lineno, "extends", "`extends` is allowed at the top of a prompt only")
            elif isinstance(name, nodes.Const) and isinstance(name.value, str) and name.value:
                yield Reference(role, name.value, node.lineno, bool(getattr(node, "ignore_missing", False)))
                node.template = nodes.Const(role + name.value, lineno=name.lineno)
            elif role == PROMPT and isinstance(name, nodes.Name) and name.name == BENEATH:
                yield Reference(role, "", node.lineno)
                node.template = nodes.Const(role, lineno=name.lineno)
            else:
                hint = 'write it out: `{% include "part.j2" %}`; for a choice use `if` around several'
                self._note(node.lineno, "", "the name of another template must be a text in quotes", hint)

    def _check_blocks(self, node: nodes.Node, *, inside: nodes.Node | None) -> None:
        """Check that sections have known names and are at the top level, side by side."""
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Block):
                self._check_block(child, inside)
            self._check_blocks(child, inside=child if not isinstance(child, nodes.Output) else inside)

    def _check_block(self, block: nodes.Block, inside: nodes.Node | None) -> None:
        if block.name.startswith("_"):
            return
        if block.name not in BLOCKS:
            hint = nearest(block.name, BLOCKS)
            self._note(block.lineno, block.name, f"there is no section `{block.name}`", hint)
        elif inside is not None:
            within = f"the block `{inside.name}`" if isinstance(inside, nodes.Block) else "a loop, condition or macro"
            hint = "sections are side by side; a loop or condition goes inside its section"
            self._note(block.lineno, block.name, f"the section `{block.name}` is inside {within}", hint)

    def _complete(self, tree: nodes.Template) -> None:
        """Add the parent that a prompt need not name, and the section around a text without any."""
        extends = [node for node in tree.body if isinstance(node, nodes.Extends)]
        if len(extends) > 1:
            self._note(extends[1].lineno, "extends", "a prompt has one parent")
        elif not extends:
            if tree.find(nodes.Block) is None:
                tree.body = [nodes.Block("instructions", tree.body, False, False, lineno=1)]
            tree.body.insert(0, nodes.Extends(nodes.Const(ROOT, lineno=1), lineno=1))
        for outside in _printed_outside(tree.body):
            hint = "put it into a section: `{% block instructions %}…{% endblock %}`"
            self._note(outside.lineno, "", "text outside of all sections", hint)

    def _names(self, tree: nodes.Template, exports: frozenset[str]) -> dict[str, Problem]:
        if self.problems:
            return {}
        try:
            free = meta.find_undeclared_variables(tree) - exports
        except (TemplateError, RecursionError, ValueError) as error:
            self.problems.append(syntax_problem(error, self.file))
            return {}
        lines: dict[str, int] = {}
        for node in tree.find_all(nodes.Name):
            if node.ctx == "load" and node.name in free:
                lines.setdefault(node.name, node.lineno)
        return {name: self._place(line, name) for name, line in lines.items()}


def _template_references(tree: nodes.Template) -> Iterator[_Naming]:
    """Yield the statements that name another template."""
    for node in tree.find_all(nodes.Stmt):
        if isinstance(node, _Naming):
            yield node


def _bound_names(body: Iterable[nodes.Node]) -> Iterator[str]:
    """Yield the names that the top level of a file defines for all of its blocks."""
    for node in body:
        if isinstance(node, nodes.FromImport):
            yield from (name if isinstance(name, str) else name[1] for name in node.names)
        elif isinstance(node, nodes.Macro):
            yield node.name
        elif isinstance(node, nodes.Import):
            yield node.target
        elif isinstance(node, nodes.Assign | nodes.AssignBlock):
            yield from (
                name.name for name in (node.target, *node.target.find_all(nodes.Name)) if isinstance(name, nodes.Name)
            )
        elif isinstance(node, nodes.If):
            yield from _bound_names((*node.body, *node.elif_, *node.else_))


def _printed_outside(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """Yield the nodes that print outside of all blocks, whose text would be lost."""
    for node in body:
        if isinstance(node, nodes.Output):
            yield from (part for part in node.nodes if not isinstance(part, nodes.TemplateData) or part.data.strip())
        elif isinstance(node, _PRINTING):
            yield node
        elif isinstance(node, _BRANCHING):
            yield from _printed_outside(child for child in node.iter_child_nodes() if isinstance(child, nodes.Stmt))
