"""The program in a reply: the one of the language that was asked for, complete, and never its output or prose."""

from __future__ import annotations

import pytest

from promptkit.answers.base import Refusal, Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.answers.reader.code_reader import find_program

DOUBLE = "def double(x):\n    return 2 * x"
QUADRUPLE = "def quadruple(x):\n    return double(double(x))"


@pytest.mark.parametrize(
    ("language", "reply", "program"),
    [
        ("python", f"Here:\n```python\n{DOUBLE}\n```\nIt prints:\n```\n4\n```", DOUBLE),
        ("python", f"```python\n{DOUBLE}\n```\nIts use:\n```python\nprint(double(2))\n```", DOUBLE),
        ("python", f"```python\ndef double(x):\n    return x\n```\nThat is wrong:\n```python\n{DOUBLE}\n```", DOUBLE),
        ("python", "```bash\npip install x\n```\n```py\nimport x\n```", "import x"),
        ("python", "```\n4\n```\nfrom\n```\nprint(2 + 2)\n```", "print(2 + 2)"),
        ("python", "~~~python\nx = 1\n~~~", "x = 1"),
        ("python", "````python\nx = '''\n```\n'''\n````", "x = '''\n```\n'''"),
        ("python", "Not closed:\n```python\nx = 1\n", "x = 1"),
        ("python", "Output: ```python\nx = 1\n```\nIt gives 1.", "x = 1"),
        ("python", "1. Do this:\n\n   ```python\n   x = 1\n   ```", "x = 1"),
        ("python", "    x = 1\n    return x\n```\nThis returns 1.", "    x = 1\n    return x"),
        (
            "python",
            ">>> x = 3\n>>> x + 1\n4\n>>> for i in [x]:\n...     print(i)\n3",
            "x = 3\nx + 1\nfor i in [x]:\n    print(i)",
        ),
        ("python", "In [1]: x = 3\nIn [2]: x\n3", "x = 3\nx"),
        ("python", f"Sure, this works:\n\n{DOUBLE}\n\nIt doubles a number.", DOUBLE),
        ("python", f"# Double\n{DOUBLE}", f"# Double\n{DOUBLE}"),
        ("python", "import math\n\n\ndef f():\n    return math.pi", "import math\n\n\ndef f():\n    return math.pi"),
        ("python", "def f(:\n    return 1", "def f(:\n    return 1"),
        ("python", "    return x + 1", "    return x + 1"),
        ("python", "(a + b) * 2", "(a + b) * 2"),
        ("python", "while True:\n    pass", "while True:\n    pass"),
        ("python", f"```python\n{DOUBLE}\n```\nand\n```python\n{QUADRUPLE}\n```", f"{DOUBLE}\n{QUADRUPLE}"),
        ("python", "```python\nimport math\n```\n```python\ny = math.pi\n```", "import math\ny = math.pi"),
        ("python", "```python\nx = 1\n```\n```python\ny = 2\n```", "y = 2"),
        ("sql", "The query is SELECT a FROM b WHERE c = 'x;y'; it gives two rows.", "SELECT a FROM b WHERE c = 'x;y';"),
        ("sql", "To find it we sort:\nSELECT a\nFROM b\nORDER BY c\n\nThis gives one.", "SELECT a\nFROM b\nORDER BY c"),
        ("sql", "```sql\nSELECT 1;\n```\n| 1 |\n|---|\n| 1 |", "SELECT 1;"),
        ("sql", "```sqlite\nSELECT 1\n```", "SELECT 1"),
        ("sql", "Use `SELECT a FROM b` for it.", "SELECT a FROM b"),
        ("sql", "select a from b", "select a from b"),
        ("sql", "WITH t AS (SELECT 1 AS x) SELECT x FROM t", "WITH t AS (SELECT 1 AS x) SELECT x FROM t"),
        ("sql", "SELECT a FROM b; DELETE FROM b", "SELECT a FROM b; DELETE FROM b"),
        ("sql", "CREATE TABLE a (x int);\nSELECT * FROM a;", "CREATE TABLE a (x int);\nSELECT * FROM a;"),
        ("yaml", "```yml\na: 1\n```", "a: 1"),
        ("javascript", "const x = 1;\nconsole.log(x);", "const x = 1;\nconsole.log(x);"),
        ("c++", "```cpp\nint x = 1;\n```", "int x = 1;"),
    ],
)
def test_the_program_is_found(language: str, reply: str, program: str) -> None:
    assert find_program(reply, language).value == program


@pytest.mark.parametrize(
    ("last", "program"),
    [("print(double(2))", f"{DOUBLE}\nprint(double(2))"), ("assert double(2) == 4", DOUBLE)],
)
def test_a_program_to_run_has_its_use_and_not_its_checks(last: str, program: str) -> None:
    reply = f"```python\n{DOUBLE}\n```\nThen:\n```python\n{last}\n```"

    assert find_program(reply, "python", to_run=True).value == program


@pytest.mark.parametrize(
    ("language", "reply", "problem"),
    [
        ("python", "", "no program"),
        ("python", "Paris", "no program"),
        ("python", "The answer is 42.", "no program"),
        ("python", "Note: yes", "no program"),
        ("python", "Let x = 5. Then y = 6.", "no program"),
        ("python", "```python\n\n```", "no program"),
        ("python", "```java\nclass A {}\n```", "the code is java, not python"),
        ("sql", "I would select the first row.", "no program"),
        ("javascript", "It is the first one", "no program"),
    ],
)
def test_a_reply_without_a_program_has_none(language: str, reply: str, problem: str) -> None:
    with pytest.raises(Unparsed, match=problem):
        find_program(reply, language)


@pytest.mark.parametrize("reply", ["I cannot do that.", "```\nNone of the given functions can be used.\n```"])
def test_a_refusal_is_no_program(reply: str) -> None:
    with pytest.raises(Refusal):
        build_answer_type("code").find(reply)


@pytest.mark.parametrize("reply", [f"{DOUBLE}\n```pyprint(1)", "````python\nx = '''\n```\n'''\n````"])
def test_a_program_with_a_fence_in_it_is_not_an_answer_since_its_end_is_uncertain(reply: str) -> None:
    with pytest.raises(Unparsed, match="fence"):
        build_answer_type("code").find(reply)
