"""Questions with variables in place of their numbers; expressions and functions tried on the same random numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from string import ascii_uppercase
from typing import Any, Final

from promptkit.answers.base import Unparsed
from promptkit.answers.reader.fences import fenced_blocks
from promptkit.techniques.context import Answer, Exchange
from promptkit.techniques.methods.attempts import failure_text, read_program
from promptkit.techniques.methods.syntax import functions
from promptkit.techniques.task import Task
from promptkit.tools.algebra import evaluate_expression

Number = int | float

_ONES: Final = ["two", "three", "four", "five", "six", "seven", "eight", "nine"]
_STEMS: Final = ("fif", "six", "seven", "eigh", "nine")
_TEENS: Final = ["ten", "eleven", "twelve", "thirteen", "fourteen", *(f"{stem}teen" for stem in _STEMS)]
_TENS: Final = ["twenty", "thirty", "forty", *(f"{stem}ty" for stem in _STEMS)]
_WORDS: Final = {
    **{word: number for number, word in enumerate([*_ONES, *_TEENS], start=2)},
    **{word: 10 * number for number, word in enumerate(_TENS, start=2)},
}
_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<digits>\d+(?:,\d{3})*(?:\.\d+)?)(?!\d)(?!(?:st|nd|rd|th)\b)"
    rf"|\b(?P<tens>{'|'.join(_TENS)})[- ](?P<ones>one|{'|'.join(_ONES)})\b"
    rf"|\b(?P<word>{'|'.join(_WORDS)})\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class NumberTemplate:
    """A question with variables in place of its numbers, and the number of each variable."""

    text: str
    values: Mapping[str, Number]

    def draws(self, number: int) -> list[dict[str, int]]:
        """Return random assignments of whole numbers from 1 to 99, always the same ones for a template."""
        random = Random(self.text)
        return [{name: random.randint(1, 99) for name in self.values} for _ in range(number)]


def to_template(question: str) -> NumberTemplate:
    """Return a question with a variable for each of its numbers, in digits or in words.

    Single letters of the question are not used as variables. `one` is not a number, since it rarely means one.
    """
    free = _names(set(re.findall(r"\b[A-Z]\b", question)))
    values: dict[str, Number] = {}

    def put(found: re.Match[str]) -> str:
        name = next(free)
        values[name] = _value(found)
        glued = question[found.end() : found.end() + 1].isalpha()
        return f"{name} " if glued else name

    return NumberTemplate(_NUMBER.sub(put, question), values)


def read_template(value: Any) -> NumberTemplate | None:
    """Return the template that a model wrote, None if it has digits or its variables are not those it declares."""
    if not isinstance(value, Mapping) or not isinstance(value.get("values"), Mapping):
        return None
    text, values = str(value.get("template", "")), dict(value["values"])
    good = all(isinstance(number, int | float) and not isinstance(number, bool) for number in values.values())
    named = all(str(name).isidentifier() and re.search(rf"\b{name}\b", text) for name in values)
    return NumberTemplate(text, values) if good and named and not re.search(r"\d", text) else None


def _names(taken: set[str]) -> Iterator[str]:
    """Yield A, B, … Z, then A1, B1 and so on."""
    yield from (letter for letter in ascii_uppercase if letter not in taken)
    for number in count(1):
        yield from (f"{letter}{number}" for letter in ascii_uppercase)


def _value(found: re.Match[str]) -> Number:
    if found["digits"]:
        digits = found["digits"].replace(",", "")
        return float(digits) if "." in digits else int(digits)
    if found["word"]:
        return _WORDS[found["word"].lower()]
    ones = found["ones"].lower()
    return _WORDS[found["tens"].lower()] + (1 if ones == "one" else _WORDS[ones])


_CALLS: Final = """\
outcomes_ = []
for each in assignments:
    try:
        outcomes_.append({call})
    except ZeroDivisionError:
        outcomes_.append(None)
outcomes_"""
_MARK: Final = re.compile(r"answer[ \t*_]*(?:=|:|is\b)", re.IGNORECASE)


async def run_function(
    task: Task, values: Mapping[str, Number], assignments: Sequence[Mapping[str, Number]], exchange: Exchange
) -> Answer:
    """Run the function of a reply on each assignment; the answer's value is the list of its numbers, None where it
    divides by zero.
    """
    program = read_program(exchange, f"def solution({', '.join(values)}):")
    if not program:
        return task.no_answer("the reply holds no program", exchange)
    name, parameters = next(reversed(functions(program).items()), ("solution", []))
    sources = parameters if set(parameters) <= values.keys() else list(values)
    arguments = ", ".join(f"{name}=each[{source!r}]" for name, source in zip(parameters, sources, strict=False))
    call = f"{name}({arguments})"
    ran = await task.code(f"{program}\n{_CALLS.format(call=call)}", inputs={"assignments": assignments}, of=exchange)
    if failure := ran.failure:
        if failure.kind in ("exception", "undefined"):  # A `try` hides the line on which it was raised.
            failure = (await task.code(f"{program}\n{call}", inputs={"each": assignments[-1]})).failure or failure
        return task.no_answer(failure_text(program, failure), exchange)
    if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in ran.value):
        return task.no_answer("the function returns something that is not a number", exchange)
    return Answer(value=list(ran.value))


async def agree(
    task: Task, exchange: Exchange, draws: Sequence[Mapping[str, Number]], returned: Sequence[Number | None]
) -> bool:
    """Tell whether the expression of a reply has the function's value on all draws, and a value on at least one."""
    expression = await task.read(exchange, partial(read_expression, variables=list(draws[0])))
    if expression is None:
        return False
    values = [evaluate(expression, draw) for draw in draws]
    same = any(value is not None for value in values) and all(map(_same, values, returned))
    task.note(exchange, f"the expression and the function {'agree' if same else 'differ'} on {len(draws)} draws")
    return same


def evaluate(expression: str, values: Mapping[str, Number]) -> Number | None:
    """Return the value of an expression, None for one that cannot be computed, or a division by zero."""
    try:
        return evaluate_expression(expression, values)
    except ValueError:
        return None


def read_expression(text: str, variables: Sequence[str]) -> str:
    """Return the expression of a reply: the text after `Answer =` or `Answer:`, else its first line that is one.

    Emphasis, LaTeX, units and signs that people write for operations are taken out. Raises Unparsed.
    """
    inside = [block.text for block in fenced_blocks(text)]
    candidates = _MARK.split(inside[0] if inside else text)
    lines = [line for part in (candidates[-1], text) for line in part.splitlines() if line.strip()]
    tried = {name: 3.7 + 1.3 * place for place, name in enumerate(variables)}
    for line in lines:
        expression = _as_python(line, variables)
        for side in (expression, *expression.split("=")):
            if side.strip() and _is_expression(side.strip(), tried):
                return side.strip()
    raise Unparsed("the reply holds no expression of the variables")


def _is_expression(text: str, values: Mapping[str, Number]) -> bool:
    try:
        evaluate_expression(text, values)
    except ValueError as error:
        return "divides by zero" in str(error)
    return True


def _as_python(line: str, variables: Sequence[str]) -> str:
    """Return a line as Python writes its expression: `2B \\times (A - B) dollars` as `2*B * (A - B)`."""
    line = _FRACTION.sub(r"((\1)/(\2))", line)
    for written, sign in _SIGNS.items():
        line = line.replace(written, sign)
    line = re.sub(r"\s[xX]\s", " * ", line) if not {"x", "X"} & set(variables) else line
    line = _BOLD.sub(r"\1", line).strip(" \t$`.,;_*")
    line = re.sub(r"(?<=[\w)])\s+[A-Za-z]{2,}[\w ]*$", "", line) if variables else line
    names = "|".join(map(re.escape, sorted(variables, key=len, reverse=True))) or "(?!)"
    line = re.sub(rf"(?<![\w.])(\d+(?:\.\d+)?|{names})[ \t]*(?=\()", r"\1*", line)
    line = re.sub(rf"(?<![\w.])(\d+(?:\.\d+)?)[ \t]*(?=(?:{names})\b)", r"\1*", line)
    return re.sub(rf"\)[ \t]*(?=\(|(?:{names})\b)", ")*", line)


_BOLD: Final = re.compile(r"(?:^|(?<=\s))\*\*(\S[^*\n]{0,300}?)\*\*(?=[\s.,]|$)")
_FRACTION: Final = re.compile(r"\\d?frac\{([^{}]{1,200})\}\{([^{}]{1,200})\}")
_SIGNS: Final = {
    "\\times": "*", "\\cdot": "*", "\\div": "/", "\\left": "", "\\right": "",
    "\\(": "", "\\)": "", "\\[": "", "\\]": "",
    "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "{": "(", "}": ")",
}  # fmt: skip
"""Signs of operations as people and LaTeX write them, and as Python does."""


def _same(one: Number | None, other: Number | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
