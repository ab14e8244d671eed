"""What Jinja raises, as problems with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from traceback import walk_tb

from jinja2 import Template, TemplateNotFound, TemplateSyntaxError
from jinja2.exceptions import SecurityError

from promptkit.errors import Problem
from promptkit.prompts.sandbox import UndefinedName


def syntax_problem(error: Exception, file: str | None) -> Problem:
    """Return what is wrong with a text that is no template."""
    if isinstance(error, TemplateSyntaxError):
        return Problem(_sentence(error.message or "broken"), file, error.lineno)
    if isinstance(error, RecursionError | MemoryError):
        return Problem("nested too deeply", file)
    return Problem(f"not a template: {_sentence(str(error))}", file)


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
