"""Looking at a project runs none of its Python (each file leaves a mark when it is run), and names what would run."""

from __future__ import annotations

import json

import pytest

from tests.journeys.commands import Place

MARK = "from pathlib import Path\nPath(__file__).with_name(Path(__file__).name + '.MARK').touch()\n"
TECHNIQUE = f"""\
{MARK}
from promptkit.techniques import Answer, Task, technique


@technique(needs={{"sampling"}}, calls="samples", requests="samples")
async def mine(task: Task, *, samples: int = 2) -> Answer:
    return await task.decide(await task.ask("answer"))
"""
FILES: dict[str, str | bytes] = {
    "promptkit.yaml": "model: scripted:model.py:answer\n",
    "model.py": MARK + "def answer(request):\n    return 'delivery'\n",
    "tools.py": MARK + "def shout(mail):\n    return mail.upper()\n",
    "ours/__init__.py": MARK,
    "ours/tools.py": MARK + "def count(mail):\n    return len(mail)\n",
    "techniques/mine.py": TECHNIQUE,
    "templates/techniques/mine/answer.j2": "---\nproduces: answer\n---\n{% extends prompt %}\n",
    "pipelines/test.yaml": """\
inputs: {mail: {example: hi}}
tools: {shout: "../tools.py:shout", count: "ours.tools:count", unused: "../unused.py:f"}
steps:
  loud: {tool: shout, with: {mail: "{{ mail }}"}}
  long: {tool: count, with: {mail: "{{ loud }}"}}
  a: {prompt: sort, with: {mail: "{{ loud }}"}}
  b: {prompt: sort, technique: {mine: {samples: 3}}}
output: "{{ a }}"
""",
    "unused.py": MARK + "def f():\n    return 1\n",
    "evals/rows.py": MARK + "def rows():\n    return [{'mail': 'hi', 'expect': 'delivery'}] * 3\n",
    "evals/score.py": MARK + "def score(output):\n    return 1\n",
    "evals/other.py": MARK + "def reply(request):\n    return 'payment'\n",
    "evals/judge.py": MARK + "def reply(request):\n    return 'yes'\n",
    "evals/made.yaml": """\
data: {python: "rows.py:rows"}
target: test
metrics:
  accuracy: label
  own: {python: "score.py:score"}
  liked: {judge: {rubric: Good?, levels: ["no", "yes"], model: "scripted:judge.py:reply"}}
variants: {usual: {}, other: {model: "scripted:other.py:reply"}}
""",
    "evals/listed.yaml": """\
data: [{mail: hi, expect: delivery}, {mail: there, expect: payment}, {mail: a, expect: delivery}]
target: test
metrics: {accuracy: label}
""",
}
SUITE = "data: []\ntarget: test\nmetrics: {accuracy: label}\n"
OF_THE_PIPELINE = [
    "model.py:answer (model, named by promptkit.yaml)",
    "tools.py:shout (tool `shout` of pipelines/test.yaml)",
    "ours/tools.py:count (tool `count` of pipelines/test.yaml)",
    "techniques/mine.py:mine (technique of step `b` in pipelines/test.yaml)",
]
OF_THE_SUITE = [
    "evals/rows.py:rows (data of evals/made.yaml)",
    "evals/score.py:score (metric `own` of evals/made.yaml)",
    "evals/judge.py:reply (judge of metric `liked` of evals/made.yaml)",
    "evals/other.py:reply (model of variant `other` of evals/made.yaml)",
]


@pytest.fixture
def full(project: Place) -> Place:
    """A project with Python in each place that may name some."""
    project.write(FILES)
    return project


def marks(place: Place) -> list[str]:
    return sorted(path.name.removesuffix(".MARK") for path in place.folder.rglob("*.MARK"))


# Not marked as an attack: planning a tuning takes its time before anything else is on the event loop.
@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["check"], [*OF_THE_PIPELINE, *OF_THE_SUITE]),
        (["check", "--graph", "test"], OF_THE_PIPELINE),
        (["check", "evals/made.yaml"], [*OF_THE_PIPELINE, *OF_THE_SUITE]),
        (["render", "test"], OF_THE_PIPELINE),
        (["render", "test", "--text", "--json", "--step", "b"], OF_THE_PIPELINE),
        (["run", "test", "--dry-run"], OF_THE_PIPELINE),
        (["run", "test", "--dry-run", "--json"], [each.partition(":")[0] for each in OF_THE_PIPELINE]),
        (["tune", "test", "--suite", "listed", "--dry-run"], OF_THE_PIPELINE),
        (["tune", "test", "--suite", "made", "--dry-run"], [*OF_THE_PIPELINE, *OF_THE_SUITE[:3]]),
        (["tune", "test", "--suite", "made", "--dry-run", "--json"], OF_THE_PIPELINE),
        (["schema", "pipeline"], []),
        (["schema", "suite"], []),
        (["techniques", "list"], []),
        (["techniques", "show", "mine"], []),
        (["models", "show", "scripted:model.py:answer"], []),
    ],
    ids=lambda each: " ".join(each) if each and " " not in each[0] else "",
)
def test_looking_runs_nothing_and_names_what_would_run(full: Place, command: list[str], named: list[str]) -> None:
    done = full.run(*command)

    assert done.code == 0, done.err
    assert marks(full) == []
    for each in named:
        assert each in done.err + done.out
    assert "unused.py" not in done.err + done.out


def test_running_runs_what_was_named(full: Place) -> None:
    assert full.run("run", "test").code == 0
    assert marks(full) == ["__init__.py", "mine.py", "model.py", "tools.py", "tools.py"]
    assert full.run("eval", "made").code == 0
    assert marks(full) == [
        "__init__.py",
        "judge.py",
        "mine.py",
        "model.py",
        "other.py",
        "rows.py",
        "score.py",
        "tools.py",
        "tools.py",
    ]


def test_check_tells_programs_what_would_run_and_people_which_rows_it_did_not_read(full: Place) -> None:
    told, found = full.run("check", "evals/made.yaml"), json.loads(full.run("check", "--json").out)

    assert "evals/made.yaml: its rows are not checked, as evals/rows.py:rows makes them" in told.err
    assert {
        "file": "ours/tools.py",
        "module": "ours.tools",
        "function": "count",
        "named_by": "tool `count` of pipelines/test.yaml",
    } in found["code"]
    assert len(found["code"]) == len(OF_THE_PIPELINE) + len(OF_THE_SUITE)


def test_a_model_of_the_command_line_stands_for_those_that_files_name(full: Place) -> None:
    full.write({"script.yaml": "otherwise: delivery\n"})
    done = full.run("run", "test", "--dry-run", "--model", "scripted:script.yaml")
    assert "model.py" not in done.out and "scripted:script.yaml (--model)" in done.out


def test_render_shows_the_steps_whose_requests_no_code_makes(full: Place) -> None:
    done = full.run("render", "test")
    assert "── a ·" in done.out and "── b ·" not in done.out
    assert "b: not shown, as techniques/mine.py:mine makes its requests" in done.err


def test_a_dry_run_says_what_would_be_asked_and_asks_nothing(full: Place) -> None:
    done = full.run("run", "test", "--dry-run", "mail=It is late.")
    assert done.out.splitlines()[:7] == [
        "target  test (pipelines/test.yaml)",
        "model   scripted:model.py:answer (promptkit.yaml)",
        "input   mail: It is late.",
        "step    loud: tool shout",
        "step    b: prompt sort, technique mine",
        "step    long: tool count, after loud",
        "step    a: prompt sort, technique vanilla, after loud",
    ]
    full.write({"rows.jsonl": '{"mail": "a"}\n{"mail": "b"}\n'})
    assert "inputs  2 rows of rows.jsonl" in full.run("run", "test", "--dry-run", "--input", "rows.jsonl").out
    assert full.run("run", "test", "--dry-run", "mial=a").code == 2


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"pipelines/test.yaml": 'tools: {t: "os:system"}\nsteps: {a: {tool: t}}\n'},
            "pipelines/test.yaml:1:12: tool `t`",
        ),
        (
            {"evals/made.yaml": 'data: {python: "os:listdir"}\ntarget: test\nmetrics: {a: label}\n'},
            "evals/made.yaml:1:16",
        ),
        ({"evals/made.yaml": 'data: []\ntarget: test\nmetrics: {a: {python: "os:getpid"}}\n'}, "evals/made.yaml:3:"),
        (
            {"pipelines/test.yaml": 'model: "scripted:/tmp/x.py:f"\nsteps: {a: {prompt: hi}}\n'},
            "pipelines/test.yaml:1:8",
        ),
        (
            {"evals/made.yaml": f'{SUITE}variants: {{b: {{model: "scripted:/x.py:f"}}}}\n'},
            "evals/made.yaml:4:",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["check", "eval"])
def test_a_file_that_reaches_beyond_the_project_is_refused_at_its_place(
    full: Place, verb: str, files: dict[str, str | bytes], told: str
) -> None:
    full.write(files)
    done = full.run(verb, *(["made"] if verb == "eval" else []))

    assert done.code != 0 and told in done.err + done.out
    assert marks(full) == ([] if verb == "check" or "evals/made.yaml" in files else ["rows.py"])


@pytest.mark.attack("code")
@pytest.mark.parametrize(
    ("file", "verb"),
    [
        ("evals/rows.py", ["eval", "made"]),
        ("evals/rows.py", ["tune", "test", "--suite", "made"]),
        *((file, ["eval", "made"]) for file in ("tools.py", "model.py", "techniques/mine.py")),
        *((file, ["run", "test"]) for file in ("tools.py", "model.py", "techniques/mine.py")),
    ],
)
def test_sys_exit_is_an_error_and_never_the_end_in_silence(full: Place, file: str, verb: list[str]) -> None:
    text = FILES[file]
    assert isinstance(text, str)
    full.write({file: text.replace("    return", "    raise SystemExit(0)\n    return", 1)})

    done = full.run(*verb)

    assert "SystemExit: 0" in done.err + done.out and f"{file}:" in done.err + done.out
    assert done.code in (2, 3)


@pytest.mark.attack("code")
@pytest.mark.parametrize("code", ["import sys\nsys.exit()\ndef rows(): ...\n", "def rows():\n    exit()\n"])
def test_check_tells_what_is_wrong_elsewhere_where_a_data_function_would_end_it(full: Place, code: str) -> None:
    full.write({"evals/rows.py": code, "pipelines/wrong.yaml": "steps: {a: {prompt: hi, layout: xlm}}\n"})

    done = full.run("check")

    assert done.code == 1 and "unknown layout `xlm`" in done.out


@pytest.mark.attack("code")
def test_sys_exit_in_a_task_of_the_code_ends_with_an_error_and_its_line(full: Place) -> None:
    body = "import asyncio, sys\nasync def inner():\n    sys.exit(0)\n"
    body += "async def shout(mail):\n    task = asyncio.ensure_future(inner())\n    await asyncio.sleep(9)\n"
    full.write({"tools.py": body})

    done = full.run("run", "test")

    assert done.code == 3 and "Python of the project ended the process: SystemExit: 0 (tools.py:3)" in done.err
