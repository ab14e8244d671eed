"""The answer of a program: where models leave it, whatever form they were asked for.

`find_result` looks in this order:

1. the variable or the function that the prompt asks for;
2. the last line, where it is a value or prints one;
3. a variable called `answer`, `ans`, `result` or `final_answer`;
4. the last statement: the variable that it assigns, or the function without parameters that it defines;
5. the last line of the program's output.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Final

from promptkit.answers.reader.python_syntax import syntax_tree
from promptkit.techniques.methods.syntax import is_called_without_arguments
from promptkit.tools.python import Execution, assigned_names

USUAL_NAMES: Final = ("answer", "ans", "result", "final_answer")
"""Variables in which people leave an answer, the usual one first."""

_NO_VALUE: Final = "None"


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """A program without its last line if that is a value, and `value`, the expression of its answer: `None` for an
    answer that it only prints.
    """

    program: str
    value: str

    @property
    def ending(self) -> str:
        """The program that ends in the answer."""
        return f"{self.program}\n{self.value}"

    def assigned_to(self, name: str) -> str:
        """Return the program with the answer in a variable."""
        return self.program if self.value == name else f"{self.program}\n{name} = {self.value}"


def find_result(program: str, *, variable: str = "", function: str = "") -> ProgramResult:
    """Return the place of a program's answer; `variable` and `function` are those that the prompt asks for."""
    program = "\n".join(re.split(r"\r\n?|\n", program))  # As Python counts its lines.
    tree = syntax_tree(program)
    if tree is None or not tree.body:
        return ProgramResult(program, variable or _NO_VALUE)
    names = assigned_names(program)
    if variable in names:
        return ProgramResult(program, variable)
    if any(is_called_without_arguments(node) and node.name == function for node in tree.body):
        return ProgramResult(program, f"{function}()")
    program, last = _last_statement(program, tree)
    value = _concluding_value(last)
    if value is not None:
        return ProgramResult(_before(program, last), value)
    usual = next((name for name in USUAL_NAMES if name in names), None)
    return ProgramResult(program, usual or _left_by(last))


def last_value(execution: Execution) -> object:
    """Return the value of a program that ended in its answer, else the last line of its output; None without one."""
    if execution.value is not None:
        return execution.value
    lines = execution.output.strip().splitlines()
    return lines[-1].strip() if lines else None


def _last_statement(program: str, tree: ast.Module) -> tuple[str, ast.stmt]:
    """Return the program and its last statement; of `if __name__ == "__main__":` those of its body."""
    last = tree.body[-1]
    while isinstance(last, ast.If) and "__name__" in ast.unparse(last.test):
        body = "\n".join(map(ast.unparse, last.body))
        program = f"{_before(program, last)}\n{body}"
        last = ast.parse(program).body[-1]
    return program, last


def _before(program: str, statement: ast.stmt) -> str:
    """Return the text of a program before a statement of its top level."""
    lines = program.encode().split(b"\n")[: statement.lineno]
    lines[-1] = lines[-1][: statement.col_offset].rstrip(b"; ")
    return b"\n".join(lines).decode()


def _concluding_value(last: ast.stmt) -> str | None:
    """Return the value that a statement is or prints; None for one that is something else, or prints several."""
    match last:
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=printed)):
            return _printed_value(printed)
        case ast.Expr(value=value):
            return ast.unparse(value)
    return None


def _printed_value(printed: list[ast.expr]) -> str | None:
    """Return the one value that `print` is given, without the words around it; a list of several without words."""
    values = [value for value in printed if not isinstance(value, ast.Constant)]
    if len(printed) == 1:
        return _value_in_words(printed[0])
    if len(values) == 1:
        return _value_in_words(values[0])
    return f"[{', '.join(map(ast.unparse, values))}]" if values and len(values) == len(printed) else None


def _value_in_words(value: ast.expr) -> str:
    """Return the value of a formatted text that holds one, as that text formats it; others as they are."""
    match value:
        case ast.Starred(value=items):
            return f"list({ast.unparse(items)})"
        case ast.JoinedStr(values=parts):
            formatted = [part for part in parts if isinstance(part, ast.FormattedValue)]
            if len(formatted) == 1:
                only = formatted[0]
                return ast.unparse(ast.JoinedStr([only]) if only.format_spec else only.value)
    return ast.unparse(value)


def _left_by(last: ast.stmt) -> str:
    """Return the variable that a statement assigns last, or a call of the function that it defines."""
    if is_called_without_arguments(last):
        return f"{last.name}()"
    if isinstance(last, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
        return _NO_VALUE
    prints = any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(last))
    names = [] if prints else assigned_names(ast.unparse(last))
    return names[-1] if names else _NO_VALUE
