"""The program in a reply: in a fence or without one, with prose, output or a shell's prompts around it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from typing import Final

from promptkit.answers.base import WHOLE_REPLY, Reading, Refusal, Unparsed, quoted
from promptkit.answers.reader.fences import FencedBlock, fenced_blocks, fences_on_own_lines
from promptkit.answers.reader.python_syntax import names_bound_in, syntax_tree, undefined_names
from promptkit.answers.reader.refusals import declines

_ALIASES: Final = (
    "python py python3 pycon ipython tool_code",
    "sql sqlite sqlite3 postgresql postgres mysql mariadb tsql plsql bigquery duckdb",
    "javascript js node jsx mjs",
    "typescript ts tsx",
    "bash sh shell zsh console shell-session",
    "yaml yml",
    "c++ cpp cc cxx",
    "c# cs csharp",
    "ruby rb",
    "rust rs",
    "go golang",
    "json jsonc json5",
    "html xhtml",
    "latex tex",
    "c java kotlin swift php perl r julia scala lua haskell css xml toml dockerfile matlab",
)
_FAMILIES: Final = {name: names.split()[0] for names in _ALIASES[:-1] for name in names.split()} | {
    name: name for name in _ALIASES[-1].split()
}
_OUTPUT: Final = frozenset(("text", "txt", "plaintext", "plain", "output", "out", "stdout", "none", "log", "result"))
_PYTHON: Final = "python"
MOST_DECLINING: Final = 1_000
"""The characters of a reply in which it would decline to answer."""
_SQL: Final = "sql"


def find_program(text: str, language: str, *, to_run: bool = False) -> Reading:
    """Return the program of a reply in a language, and the rule that found it.

    Of several fences it is the last one whose language fits and that is a program of its own: neither output nor an
    example of how another one is used, which may count in a program `to_run`. Earlier fences that it takes names from
    belong to it. Raises Unparsed, a Refusal for a reply that declines.
    """
    text = fences_on_own_lines(text.lstrip() if text.lstrip().startswith(("```", "~~~")) else text)
    family = _family(language)
    if begun := _before_closing_fence(text, family):
        return Reading(begun, "before the fence")
    blocks = fenced_blocks(text)
    fitting = _fitting_blocks(blocks, family)
    if fitting:
        programs = [_without_prompts(block.text) for block in fitting]
        python = family == _PYTHON
        return Reading(_complete_python(programs, to_run=to_run) if python else _complete(programs, family), "fence")
    others = sorted({block.language for block in blocks if _rank(block, family) is None})
    if others:
        raise Unparsed(f"the code is {', '.join(others)}, not {language}")
    program = None if blocks else _unfenced(text, family)
    if program is None:
        problem = f"the reply holds no program: {quoted(text)}"
        raise Refusal(problem) if declines(text[:MOST_DECLINING]) else Unparsed(problem)
    return Reading(program, WHOLE_REPLY if program.strip() == text.strip() else "code in prose")


def _family(language: str) -> str:
    return _FAMILIES.get(language.lower(), language.lower())


def _rank(block: FencedBlock, family: str) -> int | None:
    """Return the rank of a block's language, 0 being the best fit; None for another language."""
    if not block.language:
        return 1
    if _family(block.language) == family:
        return 0
    if block.language in _OUTPUT:
        return 3
    return None if block.language in _FAMILIES else 2


def _fitting_blocks(blocks: Sequence[FencedBlock], family: str) -> list[FencedBlock]:
    """Return the blocks whose language fits best; those that do not name it must look like code."""
    for rank in range(4):
        found = [block for block in blocks if _rank(block, family) == rank]
        found = found if rank == 0 else [block for block in found if _is_code(block.text, family)]
        if found:
            return found
    return []


def _complete(programs: Sequence[str], family: str) -> str:
    """Return the last program that is not much shorter than the longest one; in SQL the last query."""
    longest = max(map(len, programs))
    return next(program for program in reversed(programs) if 2 * len(program) >= longest or family == _SQL)


def _complete_python(programs: Sequence[str], *, to_run: bool) -> str:
    """Return the last program of its own, after those that it takes names from."""
    trees = list(map(_tree, programs))
    counted = [at for at, tree in enumerate(trees) if not _uses_another(trees, at) or (to_run and not _checks(tree))]
    counted = counted or list(range(len(programs)))
    last = next((at for at in reversed(counted) if trees[at]), counted[-1])
    chosen, missing = [programs[last]], undefined_names(trees[last])
    for at in reversed(range(last)):
        if missing & names_bound_in(trees[at]):
            chosen.insert(0, programs[at])
            missing = (missing - names_bound_in(trees[at])) | undefined_names(trees[at])
    return "\n".join(chosen)


def _checks(tree: ast.Module | None) -> bool:
    """Tell whether a program asserts something."""
    return tree is not None and any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def _uses_another(trees: Sequence[ast.Module | None], at: int) -> bool:
    """Tell whether a program defines no function of its own and calls one of another: an example of its use."""
    tree = trees[at]
    if tree is None or _defined(tree):
        return False
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return any(named & _defined(other) for number, other in enumerate(trees) if other and number != at)


def _defined(tree: ast.Module) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _tree(program: str) -> ast.Module | None:
    return syntax_tree(textwrap.dedent(program))


_PROMPT: Final = re.compile(r"[ \t]*(?:>>>|\.\.\.|In \[\d{1,5}\]:)(?: |$)")


def _without_prompts(program: str) -> str:
    """Return a session of Python's shell as its program: without prompts and output. Others as they are."""
    lines = program.strip("\n").split("\n")
    if not _PROMPT.match(lines[0]):
        return program
    return "\n".join(line[found.end() :] for line in lines if (found := _PROMPT.match(line)))


def _before_closing_fence(text: str, family: str) -> str:
    """Return the program before a fence that only closes, as a begun turn has opened it; empty where there is none."""
    before, fence, _ = text.partition("\n```")
    if not fence or "```" in before or not before.strip() or text.count("\n```") % 2 == 0:
        return ""
    rest = text[len(before) + len(fence) :].partition("\n")[0]
    return before.strip("\n") if not rest.strip() and _is_code(before, family) else ""


def _unfenced(text: str, family: str) -> str | None:
    if family == _PYTHON:
        return _python(text)
    if family == _SQL:
        return _query(text)
    return text.strip("\n") if _is_code(text, family) else None


_SIGNS: Final = re.compile(r"[{}()\[\];=<>:#$|]")


def _is_code(text: str, family: str) -> bool:
    if family == _PYTHON:
        return _python(text) is not None
    if family == _SQL:
        return _query(text) is not None
    return bool(text.strip() and _SIGNS.search(text)) and not declines(text[:MOST_DECLINING])


_PYTHON_LINES: Final = (
    r"(?:import|from)[ \t]+[\w.]+(?:[ \t]+import\b|[ \t]*$|[ \t]+as\b|,)",
    r"(?:async[ \t]+)?def[ \t]+\w+\(",
    r"class[ \t]+\w+[(:]",
    r"@\w",
    r"(?:if|elif|for|while|with|try|except|else|match)\b[^\n]{0,300}:[ \t]*(?:#.*)?$",
    r"return\b",
    r"print\(",
    r"(?:assert|raise)[ \t]",
    r">>>[ \t]",
    r"In \[\d",
    r"[\w.\[\]'\"]{1,80}(?:,[ \t]?[\w.*]{1,80}){0,9}(?:[ \t]?:[ \t]?[\w.\[\], |]{1,80}?)?[ \t]*[-+*/|&%]?=[ \t]*[^=\s]",
    r"[\w.]{1,80}\([^\n]*\)[ \t]*$",
    r"[\[{(\"'\-\d][^\n]*[\])}\"'\d][ \t]*$",
)
_PYTHON_LINE: Final = re.compile(rf"[ \t]*(?:{'|'.join(_PYTHON_LINES)})")
_COMMENT: Final = re.compile(r"[ \t]*(?:#|$)")
_MOST_CUTS: Final = 8


def _python(text: str) -> str | None:
    """Return the Python in a text without fences, the prose around it left out; None where there is none.

    A program that is not valid is returned whole, so that running it says what is wrong.
    """
    if _has_statement(text):
        return text.strip("\n")
    lines = text.strip("\n").split("\n")
    first = next((at for at, line in enumerate(lines) if _PYTHON_LINE.match(line)), None)
    if first is None:
        return _expression(text)
    while first and _COMMENT.match(lines[first - 1]):
        first -= 1
    program = _without_prompts("\n".join(lines[first:]).strip("\n"))
    return _without_prose_below(program)


def _has_statement(text: str) -> bool:
    """Tell whether a text is Python with a statement in it: more than names, which any words may be."""
    tree = _tree(text)
    words = (ast.Expr, ast.AnnAssign, ast.Pass, ast.Break, ast.Continue)
    return tree is not None and not all(isinstance(node, words) for node in tree.body)


def _expression(text: str) -> str | None:
    """Return a text that is an expression with a sign or a digit in it, as `a + b * 2`, else None."""
    tree = _tree(text.strip())
    simple = tree is not None and len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr)
    return text.strip("\n") if simple and re.search(r"[\d(\[+*/%]", text) else None


def _without_prose_below(program: str) -> str:
    """Return a program without the prose after it: what follows a blank line, and is not Python."""
    cut = textwrap.dedent(program)
    for _ in range(_MOST_CUTS):
        try:
            ast.parse(cut)
        except SyntaxError as error:
            kept = cut.split("\n")[: (error.lineno or 1) - 1]
            below = cut.split("\n")[len(kept) :]
            if not any(map(str.strip, kept)) or kept[-1].strip() or not below or _PYTHON_LINE.match(below[0]):
                return program
            cut = "\n".join(kept).rstrip()
        except (ValueError, RecursionError, MemoryError):
            return program
        else:
            return cut if cut.strip() != textwrap.dedent(program).strip() else program
    return program


_STATEMENTS: Final = (
    r"SELECT\b",
    r"WITH\s+(?:RECURSIVE\s+)?\w+\s*(?:\([^()]{0,200}\)\s*)?AS\b",
    r"INSERT\s+(?:OR\s+\w+\s+)?INTO\b",
    r"UPDATE\s+\S+\s+SET\b",
    r"DELETE\s+FROM\b",
    r"(?:CREATE|DROP)\s+\w+",
    r"ALTER\s+TABLE\b",
    r"VALUES\s*\(",
    r"(?:EXPLAIN|PRAGMA)\s",
)
_STATEMENT: Final = f"(?:{'|'.join(_STATEMENTS)})"
_LINE_QUERY: Final = re.compile(rf"^[ \t(]*(?:--[^\n]*\n\s*)?(?={_STATEMENT})", re.IGNORECASE | re.MULTILINE)
_PROSE_QUERY: Final = re.compile(rf"(?<![\w(])(?={_STATEMENT})(?=[^\n;]{{0,2000}}\b(?:FROM|SET|INTO|VALUES)\b)")
_NEXT_QUERY: Final = re.compile(rf"\s*(?={_STATEMENT})", re.IGNORECASE)
_QUERY_SIGN: Final = re.compile(r"[;()]|\n[ \t]*\n|'(?:[^'\n]|'')*'|\"[^\"\n]*\"")


def _query(text: str) -> str | None:
    """Return the SQL in a text without fences: the last statement, or those that follow one another."""
    starts = [found.end() for found in _LINE_QUERY.finditer(text)] or [
        found.start() for found in _PROSE_QUERY.finditer(text)
    ]
    found, end = None, -1
    begin = 0
    for start in starts:
        if start < end:
            continue
        if found is None or text[end:start].strip():
            begin = start
        end = _query_end(text, start)
        found = text[begin:end].strip()
    return found


def _query_end(text: str, start: int) -> int:
    """Return the end of a query: its semicolon, a blank line, the closing mark of code, else the text's end."""
    if text[start - 1 : start] == "`":
        closing = text.find("`", start)
        return closing if closing >= 0 else len(text)
    depth = 0
    for sign in _QUERY_SIGN.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(sign[0], 0)
        if sign[0] == ";" and depth <= 0 and not _NEXT_QUERY.match(text, sign.end()):
            return sign.end()
        if not sign[0].strip():
            return sign.start()
    return len(text)
