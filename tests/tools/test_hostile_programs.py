"""Programs that try to get out, to hang, or to break what runs them. None does, and the next one runs as ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from promptkit.tools.backends import Backend
from promptkit.tools.python import Execution, run_python
from promptkit.tools.sandbox import Limits

LIMITS = Limits(seconds=0.2, memory=32 * 2**20, calls=200)
SECRET = "swordfish-93127"

# Each case: its name, the program, and the kind of failure it ends in (of two, whichever comes first); "value" is a
# harmless value.
HOSTILE: list[tuple[str, str, str]] = [
    # Without end
    ("loop_without_end", "while True:\n    pass", "time"),
    ("loop_that_catches_everything", "while True:\n    try:\n        while True: pass\n    except: pass", "time"),
    (
        "loop_in_finally",
        "def f():\n    try:\n        while True: pass\n    finally:\n        while True: pass\nf()",
        "time",
    ),
    (
        "catching_base_exception",
        "while True:\n    try:\n        1 / 0\n    except BaseException:\n        continue",
        "time",
    ),
    ("recursion_without_end", "def f(n):\n    return f(n + 1)\nf(0)", "exception"),
    (
        "recursion_that_catches_itself",
        "def f():\n    try:\n        f()\n    except RecursionError:\n        f()\nf()",
        "time",
    ),
    ("busy_recursion", "def f(n):\n    return 1 if n < 2 else f(n - 1) + f(n - 2)\nf(60)", "time"),
    ("mutual_recursion", "a = lambda: b()\nb = lambda: a()\na()", "exception"),
    ("recursion_in_a_property", "class A:\n    def __repr__(self): return repr(self)\nrepr(A())", "exception"),
    ("recursion_in_equality", "class A:\n    def __eq__(self, other): return self == other\nA() == A()", "exception"),
    ("sleep_without_end", "import time\nwhile True: time.sleep(3600)", "time"),
    ("one_long_sleep", "import time\ntime.sleep(10**9)\n'woke'", "value"),
    ("asynchronous_sleep", "import asyncio\nasyncio.run(asyncio.sleep(10**6))", "value"),
    (
        "awaiting_without_end",
        "import asyncio\nasync def f():\n    while True:\n        await asyncio.sleep(1)\nasyncio.run(f())",
        "time",
    ),
    ("iterator_without_end", "import itertools\nsum(itertools.count())", "time"),
    (
        "iterator_of_its_own",
        "class A:\n    def __iter__(self): return self\n    def __next__(self): return 1\nlist(A())",
        "memory",
    ),
    ("large_range", "sum(range(10**15))", "time"),
    ("counting_a_large_range", "sum(1 for _ in range(10**15))", "memory"),
    ("list_that_grows_while_it_is_read", "items = [1]\nfor item in items:\n    items.append(item)", "memory"),
    ("dictionary_that_grows_while_it_is_read", "d = {0: 0}\nfor key in d:\n    d[key + 1] = 0", "exception"),
    ("regular_expression_that_goes_back", "import re\nre.match('(a+)+$', 'a' * 40 + 'b')", "value"),
    ("regular_expression_that_repeats", "import re\nre.compile('((a{1,1000}){1,1000}){1,1000}')\n1", "exception"),
    (
        "sorting_with_a_spoiling_key",
        "items = list(range(1000))\nitems.sort(key=lambda x: items.clear() or x)\n1",
        "value",
    ),
    ("sorting_with_a_key_without_end", "def key(x):\n    while True: pass\nsorted([2, 1], key=key)", "time"),
    ("comparing_deep_lists", "a, b = [], []\nfor _ in range(10**5): a, b = [a], [b]\na == b", "exception"),
    ("text_of_a_deep_list", "a = []\nfor _ in range(10**5): a = [a]\nlen(repr(a))", "value"),
    ("hash_of_a_deep_tuple", "a = ()\nfor _ in range(10**5): a = (a,)\nhash(a)", "exception"),
    # Memory
    ("list_that_doubles", "x = [1]\nwhile True: x = x + x", "memory"),
    ("text_that_doubles", "x = 'a'\nwhile True: x += x", "memory"),
    ("list_times_a_large_number", "[0] * 10**12", "memory"),
    ("text_times_a_large_number", "'a' * 10**12", "memory"),
    ("bytes_times_a_large_number", "b'a' * 10**12", "memory"),
    ("bytes_of_a_large_number", "bytes(10**12)", "memory"),
    ("tuple_times_a_large_number", "(0,) * 10**12", "memory"),
    ("power_tower", "9 ** 9 ** 9", "memory"),
    ("power_again_and_again", "x = 3\nwhile True: x = x ** 3", "time memory"),
    ("shift_by_a_large_number", "1 << 10**12", "memory"),
    ("factorial", "import math\nmath.factorial(10**7)", "memory"),
    ("integer_as_text", "str(10 ** 5000)", "exception"),
    ("integer_as_text_in_a_frame", "f'{10 ** 100000}'", "exception"),
    ("dictionary_of_texts", "d = {}\nfor i in range(10**9): d[i] = 'x' * 1000 + str(i)", "memory"),
    ("set_of_numbers", "set(range(10**9))", "memory"),
    ("text_padded", "'x'.ljust(10**11)", "memory"),
    ("text_in_a_wide_field", "f'{1:>100000000000}'", "memory"),
    ("text_in_an_old_wide_field", "'%100000000000d' % 1", "memory"),
    ("decimals_without_end", "f'{1:.100000000000f}'", "exception"),
    ("text_joined", "'x'.join(['y' * 10**6] * 10**6)", "memory"),
    ("text_replaced", "('a' * 10**6).replace('a', 'b' * 10**6)", "memory"),
    ("frame_in_a_frame", "x = 'x' * 1000\nfor _ in range(10): x = f'{x}{x}{x}{x}{x}{x}{x}{x}{x}{x}'", "memory"),
    ("closures_without_end", "fs = []\nwhile True: fs.append(lambda: fs)", "memory"),
    ("numbers_read_from_a_long_text", "int('9' * 10**6)", "exception"),
    ("split_into_pieces", "('a,' * 10**7).split(',')", "memory"),
    # The host's files, environment, processes and network
    ("reading_a_file", "open('{folder}/secret.txt').read()", "forbidden"),
    ("writing_a_file", "with open('{folder}/made.txt', 'w') as file:\n    file.write('x')", "forbidden"),
    ("reading_through_pathlib", "from pathlib import Path\nPath('{folder}/secret.txt').read_text()", "forbidden"),
    ("writing_through_pathlib", "from pathlib import Path\nPath('{folder}/made.txt').write_text('x')", "forbidden"),
    ("listing_a_folder", "import os\nos.listdir('{folder}')", "forbidden"),
    ("walking_up_from_the_root", "open('../../../../../../../../../{folder}/secret.txt').read()", "forbidden"),
    ("making_a_folder", "import os\nos.mkdir('{folder}/made')", "forbidden"),
    ("removing_a_file", "import os\nos.remove('{folder}/secret.txt')", "forbidden"),
    ("opening_by_number", "open(0).read()", "exception"),
    ("reading_what_the_process_is", "open('/proc/self/environ', 'rb').read()", "forbidden"),
    ("the_environment", "import os\nos.environ['PROMPTKIT_SECRET']", "forbidden"),
    ("the_environment_by_call", "import os\nos.getenv('PROMPTKIT_SECRET')", "forbidden"),
    ("the_environment_by_name", "from os import environ\nstr(environ)", "forbidden"),
    ("a_shell", "import os\nos.system('touch {folder}/made.txt')", "exception"),
    ("a_process", "import subprocess\nsubprocess.run(['touch', '{folder}/made.txt'])", "unsupported"),
    ("a_fork", "import os\nwhile True: os.fork()", "exception"),
    ("ending_the_process", "import os\nos._exit(1)", "exception"),
    ("ending_by_a_signal", "import os, signal\nos.kill(os.getppid(), 9)", "unsupported"),
    ("leaving", "import sys\nsys.exit(3)", "exception"),
    ("leaving_by_exception", "raise SystemExit(3)", "exception"),
    ("an_interrupt", "raise KeyboardInterrupt", "exception"),
    ("a_socket", "import socket\nsocket.create_connection(('127.0.0.1', 80))", "unsupported"),
    ("a_web_page", "from urllib.request import urlopen\nurlopen('http://127.0.0.1')", "unsupported"),
    ("foreign_functions", "import ctypes\nctypes.string_at(0)", "unsupported"),
    ("importing_by_name", "import importlib\nimportlib.import_module('os').listdir('/')", "unsupported"),
    ("importing_by_dunder", "__import__('os').listdir('/')", "unsupported"),
    ("shared_memory", "from multiprocessing import shared_memory", "unsupported"),
    ("threads", "import threading\nthreading.Thread(target=print).start()", "unsupported"),
    ("pickles", "import pickle\npickle.loads(b'cos\\nsystem\\n.')", "unsupported"),
    ("standard_input", "input()", "unsupported"),
    ("a_break_point", "breakpoint()", "unsupported"),
    ("the_clock", "import time\ntime.time()", "forbidden"),
    ("the_machines_chance", "import os\nos.urandom(8)", "forbidden"),
    # Walks through objects
    ("walk_over_classes", "().__class__.__base__.__subclasses__()", "exception"),
    ("walk_over_the_order_of_classes", "''.__class__.__mro__[1].__subclasses__()", "exception"),
    (
        "walk_over_frames",
        "try:\n    1 / 0\nexcept Exception as e:\n    e.__traceback__.tb_frame.f_globals",
        "exception",
    ),
    ("walk_over_a_functions_globals", "def f(): pass\nf.__globals__['__builtins__']", "exception"),
    ("walk_over_code", "def f(): pass\nf.__code__.co_code", "exception"),
    ("walk_by_getattr", "getattr(getattr((), '__class__'), '__bases__')", "exception"),
    ("walk_by_format", "'{0.__class__.__mro__}'.format(())", "exception"),
    ("walk_by_format_map", "'{x.__init__.__globals__}'.format_map({'x': print})", "exception"),
    ("built_ins", "__builtins__", "undefined"),
    ("globals", "globals()['__builtins__']", "unsupported"),
    ("variables_of_a_module", "import os\nvars(os)", "unsupported"),
    ("evaluating_an_import", "eval(\"__import__('os').listdir('/')\")", "unsupported"),
    ("executing_a_file", "exec(\"open('{folder}/made.txt', 'w')\")", "forbidden"),
    ("compiling", "compile('1', '', 'eval')", "unsupported"),
    ("evaluating_deeply", "x = '1'\nfor _ in range(1000): x = f'eval({x!r})'\neval(x)", "memory"),
    ("executing_without_end", "exec('while True: pass')", "time"),
    ("a_class_in_disguise", "class A(str):\n    def __len__(self): return -1\nlen(A('x'))", "unsupported"),
    ("a_metaclass", "class M(type): pass\nclass A(metaclass=M): pass", "unsupported"),
    ("a_decorator", "@lambda f: f()\ndef x(): return open('/etc/passwd')", "forbidden"),
    ("deleting", "x = 1\ndel x", "unsupported"),
    ("yielding", "def f():\n    while True: yield 1\nlist(f())", "unsupported"),
    ("yielding_at_the_top", "yield 1", "unsupported"),
    ("an_asynchronous_function", "async def f(): return 1\nf()", "unsupported"),
    ("changing_a_built_in", "len = lambda x: 99\nlen([])", "value"),
    ("changing_a_module", "import math\nmath.pi = 3\nmath.pi", "exception"),
    # The parser
    ("deep_parentheses", "(" * 5000 + "1" + ")" * 5000, "syntax"),
    ("deep_lists", "[" * 2000 + "]" * 2000, "syntax"),
    ("deep_signs", "-" * 20_000 + "1", "syntax"),
    ("deep_blocks", "".join(" " * depth + "if 1:\n" for depth in range(300)) + " " * 300 + "1", "syntax"),
    ("a_long_sum", "1" + "+1" * 40_000, "syntax"),
    ("a_long_chain_of_calls", "x" + ".x" * 40_000, "syntax"),
    ("a_long_list", "x = [" + "1," * 45_000 + "]\nlen(x)", "value"),
    ("a_long_number", "9" * 50_000, "syntax"),
    ("a_program_without_end", "x = 1\n" * 100_000, "syntax"),
    ("a_null_byte", "x = 1\x00", "syntax"),
    ("half_a_character", "x = '\ud800'", "syntax"),
    ("half_a_character_escaped", "'\\ud800'", "value"),
    ("control_characters", "'\x1b[2J\x07'", "value"),
    ("right_to_left", "x = 1 # \u202e\nx", "value"),
    ("frames_in_frames", "f'" + '{f"' * 50 + "1" + '"}' * 50 + "'", "value"),
    ("nothing", "", "value"),
    ("only_a_comment", "# nothing", "value"),
    ("no_python", "The answer is 4, since 2 and 2 are 4.", "syntax"),
    ("another_language", "console.log(1);", "undefined"),
    # Output
    ("printing_without_end", "while True: print('x' * 1000)", "output"),
    ("printing_a_large_text", "print('x' * 10**7)", "output"),
    ("printing_nothing_without_end", "while True: print('', end='')", "time"),
    ("printing_to_standard_error", "import sys\nwhile True: print('x' * 1000, file=sys.stderr)", "output"),
    ("printing_many_values", "print(*range(10**6))", "memory output"),
    ("a_large_exception", "raise ValueError('x' * 10**7)", "exception"),
    (
        "an_exception_of_exceptions",
        "def f(n):\n    try:\n        raise ValueError(n)\n    except ValueError:\n        f(n + 1)\nf(0)",
        "exception",
    ),
    # Values
    ("a_value_that_holds_itself", "x = []\nx.append(x)\nx", "value"),
    ("a_mapping_that_holds_itself", "x = {}\nx['x'] = x\nx", "value"),
    ("a_deep_value", "x = []\nfor _ in range(10**4): x = [x]\nx", "output"),
    ("a_wide_value", "list(range(400_000))", "memory output"),
    ("a_value_that_is_written_out_large", "x = 'a' * 1000\nfor _ in range(5): x = [x] * 1000\nx", "output"),
    ("a_long_text_as_value", "'x' * 10**6", "output"),
    ("a_long_number_as_value", "10 ** 20_000", "output"),
    ("not_a_number", "float('nan')", "unsupported"),
    ("infinity", "[1, float('inf')]", "unsupported"),
    ("a_decimal_with_a_large_exponent", "from decimal import Decimal\nDecimal('1e999999')", "output"),
    ("a_function_as_value", "len", "unsupported"),
    ("a_class_as_value", "class A: pass\nA()", "unsupported"),
    ("an_odd_key", "{(): 1}", "unsupported"),
    # Functions that are handed in
    ("a_million_calls", "for i in range(10**6): echo(i)", "forbidden"),
    ("a_million_look_ups", "while True:\n    try: nothing\n    except NameError: pass", "forbidden"),
    ("a_million_tries_at_a_file", "while True:\n    try: open('x')\n    except OSError: pass", "forbidden"),
    ("a_large_argument", "len(echo('x' * 10**7))", "value"),
    ("an_argument_that_holds_itself", "x = []\nx.append(x)\necho(x)\n1", "value"),
    ("an_argument_of_a_kind_of_its_own", "class A: pass\necho(A())\n1", "exception"),
    ("a_function_as_an_argument", "echo(echo)\n1", "value"),
    ("arguments_that_do_not_fit", "echo(1, 2, three=3)", "exception"),
    ("a_functions_attributes", "echo.__globals__", "exception"),
    ("a_functions_closure", "echo.__closure__[0].cell_contents", "exception"),
    ("a_result_that_holds_itself", "circle()", "exception"),
    ("a_result_of_a_kind_of_its_own", "thing()", "exception"),
    ("a_large_result", "len(flood())", "value"),
    ("a_function_that_fails", "while True:\n    try: fail()\n    except Exception: pass", "forbidden"),
]


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def fail() -> None:
    raise RuntimeError(SECRET[:3])


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "echo": lambda value: value,
    "circle": circle,
    "thing": object,
    "flood": lambda: "x" * 10**7,
    "fail": fail,
}


@pytest.mark.attack("python")
@pytest.mark.parametrize(("program", "kinds"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
async def test_it_stays_in_its_limits(
    program: str, kinds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTKIT_SECRET", SECRET)
    (tmp_path / "secret.txt").write_text(SECRET)
    # What does not end by its time has enough of it on a busy machine too; an endless one takes all that it is given.
    limits = LIMITS if "time" in kinds.split() else replace(LIMITS, seconds=5 if "while True" in program else 15)
    async with asyncio.timeout(20):
        execution = await run_python(program.replace("{folder}", str(tmp_path)), functions=FUNCTIONS, limits=limits)
    assert (execution.failure.kind if execution.failure else "value") in kinds.split(), execution
    assert SECRET not in str(execution.value) + execution.output + str(execution.failure)
    assert len(execution.output) <= LIMITS.output
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]
    async with asyncio.timeout(20):
        assert await run_python("print('well')\n1 + 1") == Execution(value=2, output="well\n")


@pytest.mark.attack("python")
@pytest.mark.usefixtures("jail")
@pytest.mark.parametrize("program", [case[1] for case in HOSTILE], ids=[case[0] for case in HOSTILE])
async def test_it_stays_in_its_limits_under_cpython(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CPython knows more of Python, so the kinds of failures are others."""
    monkeypatch.setenv("PROMPTKIT_SECRET", SECRET)
    (tmp_path / "secret.txt").write_text(SECRET)
    limits = replace(LIMITS, seconds=0.1)
    async with asyncio.timeout(20):
        execution = await run_python(
            program.replace("{folder}", str(tmp_path)), functions=FUNCTIONS, limits=limits, backend="cpython"
        )
    assert SECRET not in str(execution.value) + execution.output + str(execution.failure)
    assert len(execution.output) <= LIMITS.output
    assert [path.name for path in tmp_path.iterdir()] == ["secret.txt"]


@pytest.mark.attack("python")
async def test_many_at_once_leave_room_for_a_good_one(backend: Backend) -> None:
    bad = [run_python(case[1], functions=FUNCTIONS, limits=LIMITS, backend=backend) for case in HOSTILE[:12]]
    *others, good = await asyncio.gather(*bad, run_python("sum(range(10))", limits=LIMITS, backend=backend))
    assert good == Execution(value=45)
    assert len(others) == 12
