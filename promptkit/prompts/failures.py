"""What Jinja raises, as problems with file and line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from traceback import walk_tb

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import SecurityError

from promptkit.errors import Problem
from promptkit.prompts.sandbox import ENVIRONMENT, UndefinedName

_ENDS = frozenset({"endblock", "endcall", "endfilter", "endfor", "endif", "endmacro", "endwith"})


def syntax_problem(error: Exception, file: str | None) -> Problem:
    """Return what is wrong with a text that is no template."""
    if isinstance(error, TemplateSyntaxError):
        return _unclosed(error, file) or Problem(_sentence(error.message or "broken"), file, error.lineno)
    if isinstance(error, RecursionError | MemoryError):
        return Problem("nested too deeply", file)
    return Problem(f"not a template: {_sentence(str(error))}", file)


def _unclosed(error: TemplateSyntaxError, file: str | None) -> Problem | None:
    """Return the problem of braces or a tag without an end, where it is one."""
    message, ends = error.message or "", "an expression ends in `}}`"
    if message.startswith("unexpected end of template") and "'end of print statement'" in message:
        return Problem("`{{` is not closed: the end of its expression is missing", file, error.lineno, hint=ends)
    if message == "unexpected '}'":
        return Problem(_sentence(message), file, error.lineno, hint=ends)
    is_open = message.startswith("Unexpected end of template") or "a nesting mistake" in message
    opened = _open_tag(error.source or "") if is_open else None
    if opened is None:
        return None
    line, tag, name = opened
    what = f"the {tag} `{name}`" if tag in ("block", "macro") else f"the `{tag}`"
    return Problem(f"{what} is not closed", file, line, hint=f"`{{% end{tag} %}}` ends it")


def _open_tag(source: str) -> tuple[int, str, str] | None:
    """Return line, word and name of the innermost tag that a text leaves open."""
    tokens = list(_tokens(source))
    opened: list[tuple[int, str, str]] = []
    for (_, kind, _), (line, _, word), (_, _, name) in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if kind == "block_begin" and f"end{word}" in _ENDS:
            opened.append((line, word, name))
        elif kind == "block_begin" and word in _ENDS and opened:
            if word != f"end{opened[-1][1]}":
                break
            opened.pop()
    return opened[-1] if opened else None


def _tokens(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line, kind and text of each token but blanks, up to what is not one: the parser came no further."""
    with suppress(TemplateSyntaxError):
        yield from (token for token in ENVIRONMENT.lex(source) if token[1] != "whitespace")


def rendering_problem(error: Exception, file: str | None, names: Iterable[str]) -> Problem:
    """Return why a template could not be rendered, where it happened; `names` are those it could have used."""
    where = _line(error)
    problem = Problem(_message(error), *(where or (file, None)))
    if isinstance(error, UndefinedName):
        return replace(problem, hint=error.hint(names))
    return problem


def _message(error: Exception) -> str:
    if isinstance(error, RecursionError | MemoryError):
        return "nested too deeply"
    if isinstance(error, TemplateNotFound):
        return f"there is no template `{error.name}`"
    if isinstance(error, SecurityError):
        return f"not allowed: {_sentence(str(error))}"
    return _sentence(str(error)) or type(error).__name__


def _sentence(text: str) -> str:
    return text.rstrip(". ") if len(text) < 300 else f"{text[:300]}…"


def _line(error: Exception) -> tuple[str | None, int] | None:
    """Return the innermost template line that the error came through."""
    if isinstance(error, TemplateSyntaxError):
        return error.filename, error.lineno
    found = None
    for frame, number in walk_tb(error.__traceback__):
        template = frame.f_globals.get("__jinja_template__")
        if isinstance(template, Template) and frame.f_code.co_filename == template.filename:
            found = (template.filename, template.get_corresponding_lineno(number))
    return found
