"""Every mistake gets file, line, column, what is wrong and what would be right, before a model is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.journeys.commands import PIPELINE, PROMPT, Place

PIPELINE_FILE, PROMPT_FILE = "pipelines/test.yaml", "templates/prompts/sort.j2"


@dataclass(frozen=True, slots=True)
class Mistake:
    """A file that is wrong, where, and words of the message and the hint."""

    name: str
    file: str
    content: str | bytes
    place: str
    words: str
    hint: str | None = None
    others: tuple[tuple[str, str], ...] = ()


def pipeline(name: str, added: str, place: str, words: str, hint: str | None = None) -> Mistake:
    return Mistake(name, PIPELINE_FILE, PIPELINE + added, place, words, hint)


def whole(name: str, content: str | bytes, place: str, words: str, hint: str | None = None) -> Mistake:
    return Mistake(name, PIPELINE_FILE, content, place, words, hint)


def prompt(name: str, old: str, new: str, place: str, words: str, hint: str | None = None) -> Mistake:
    assert old in PROMPT
    return Mistake(name, PROMPT_FILE, PROMPT.replace(old, new), place, words, hint)


def with_file(mistake: Mistake, **files: str) -> Mistake:
    others = tuple((f"{name}.{ending}", text) for key, text in files.items() for name, ending in [key.rsplit("_", 1)])
    return Mistake(
        mistake.name, mistake.file, mistake.content, mistake.place, mistake.words, mistake.hint, others=others
    )


TOOL = "tools: {t: t.py:f}\nsteps:\n  a: {tool: t}\n"
LOOP = """\
inputs: {mails: {type: list, example: [hi]}}
steps:
  a: {for_each: '{{ mails }}', as: mail, prompt: sort}
"""
MISTAKES = [
    pipeline("unknown key", "    technque: vanilla\n", "5:5", "unknown key `technque`", "`technique`"),
    whole("unknown key at the top", "stepz: {}\nsteps: {a: {prompt: sort}}\n", "1:1", "unknown key `stepz`", "`steps`"),
    pipeline("duplicate key", "    prompt: sort\n", "5:5", "`prompt` is given twice (first in line 4)"),
    pipeline("wrong type", "    repairs: many\n", "5:14", "`repairs`: must be a whole number, not `many`"),
    whole("steps as a list", "steps:\n  - prompt: sort\n", "2:3", "`steps`: must be a mapping, not a list"),
    whole("no pipeline at all", "hello\n", "1:1", "must be a mapping, not `hello`"),
    whole("empty", "", "1:1", "`steps` is missing"),
    whole("unknown prompt", PIPELINE.replace("sort", "srot"), "4:13", "no prompt `srot`", "did you mean `sort`?"),
    pipeline("unknown technique", "    technique: chain_of_thougt\n", "5:16", "chain_of_thougt", "`chain_of_thought`"),
    pipeline(
        "unknown parameter", "    technique: {chain_of_thought: {ovr: x}}\n", "5:16", "no parameter `ovr`", "max_tokens"
    ),
    pipeline(
        "model misspelt", "    model: olama/qwen\n", "5:12", "not a model reference", "did you mean `ollama/qwen`?"
    ),
    pipeline("model of the pipeline", "model: gpt-4\n", "5:8", "`gpt-4` is not a model reference", "ollama/gpt-4"),
    pipeline("unknown layout", "    layout: xlm\n", "5:13", "unknown layout `xlm`", "did you mean `xml`?"),
    pipeline("unknown name", "    with: {mail: '{{ mial }}'}\n", "5:18", "unknown name `mial`", "`mail`"),
    pipeline("unknown name in the output", "output: '{{ aa }}'\n", "5:9", "unknown name `aa`", "did you mean `a`?"),
    whole("cycle", "steps:\n  a: {prompt: 'x {{ b }}'}\n  b: {prompt: 'y {{ a }}'}\n", "2:3", "in a circle"),
    pipeline("Jinja: cut off", "    when: '{{ mail == }}'\n", "5:11", "unexpected"),
    pipeline("Jinja: not closed", "    with: {mail: '{{ mail '}\n", "5:18", "`{{` is not closed", "`}}`"),
    pipeline("Jinja: half closed", "    with: {mail: '{{ mail }'}\n", "5:18", "unexpected '}'", "ends in `}}`"),
    pipeline("Jinja: unknown filter", "    with: {mail: '{{ mail | uper }}'}\n", "5:18", "no filter `uper`", "`upper`"),
    prompt("Jinja: filter in a prompt", "{{ mail }}", "{{ mail | uper }}", "6:28", "no filter `uper`", "`upper`"),
    prompt("Jinja: unknown test", "{{ mail }}", "{{ mail is strng }}", "6:29", "no test `strng`", "`string`"),
    prompt(
        "Jinja: a block that is not closed",
        "mail.{% endblock %}",
        "mail.",
        "5",
        "block `instructions` is not closed",
        "{% endblock %}",
    ),
    prompt(
        "Jinja: an if that is not closed", "{{ mail }}", "{% if mail %}", "6", "the `if` is not closed", "{% endif %}"
    ),
    prompt(
        "Jinja: an if that is not closed before what cannot be read",
        "mail.{% endblock %}",
        "{% if mail %}{% endblock!%}\n{% endblock %}",
        "5",
        "the `if` is not closed",
        "{% endif %}",
    ),
    prompt("unknown name in a prompt", "{{ mail }}", "{{ mial }}", "6:21", "`mial` is not an input", "`mail`"),
    prompt("misspelt section", "block instructions", "block instrutions", "5:10", "`instrutions`", "`instructions`"),
    prompt(
        "text outside the sections", "{% block input", "hello\n{% block input", "6", "outside of all sections", "block"
    ),
    prompt("unknown key in front matter", "answer:", "anwser:", "3:1", "unknown key `anwser`", "`answer`"),
    prompt("duplicate key in front matter", "answer:", "inputs: {}\nanswer:", "3:1", "`inputs` is given twice"),
    prompt("front matter not closed", "]}\n---", "]}", "1:1", "has no end", "`---`"),
    prompt("wrong value in front matter", "answer:", "messages: two\nanswer:", "3:11", "`messages`: must be", "one"),
    prompt("unknown parent", "{% block instr", "{% extends 'srot.j2' %}{% block instr", "5", "srot.j2", "`sort.j2`"),
    prompt("unknown part", "{{ mail }}", "{% include 'soort.j2' %}", "6", "soort.j2", "did you mean `sort.j2`?"),
    pipeline("answer type misspelt", "    answer: lable\n", "5:13", "no answer type `lable`; did you mean `label`?"),
    pipeline("answer type without labels", "    answer: {label: []}\n", "5:13", "at least one"),
    pipeline(
        "answer type that cannot be met", "    answer: {number: {min: 5, max: 1}}\n", "5:13", "nothing lies between"
    ),
    pipeline(
        "answer type that is not scored", "    answer: text\n    decide: score\n", "6:13", "cannot be scored", "label"
    ),
    whole("missing input", PIPELINE.replace("mail:", "male:"), "4:5", "nothing gives the input `mail`", "`male`"),
    whole("not UTF-8", PIPELINE.encode() + b"    about: \xff\n", "5:12", "not UTF-8", "save the file as UTF-8"),
    Mistake("prompt not UTF-8", PROMPT_FILE, PROMPT.encode() + b"\xff", "7:1", "not UTF-8", "save the file"),
    whole("UTF-16", PIPELINE.encode("utf-16"), "1:1", "not UTF-8", "save the file as UTF-8"),
    whole(
        "YAML bomb",
        "a: &a [x, x]\nb: [*a, *a]\nsteps: {a: {prompt: sort}}\n",
        "2:5",
        "alias `*a`",
        "write the value out",
    ),
    whole("merge key", "steps: {a: {<<: {prompt: sort}}}\n", "1:13", "merge key", "write the keys out"),
    whole("nested without end", "steps: " + "[" * 5000, "1:1007", "nesting depth"),
    pipeline("a tag", "about: !!python/object:os.system x\n", "5:8", "is not read", "leave it out"),
    whole(
        "path out of the root", PIPELINE.replace("sort", "../../../x.j2"), "4:13", "leaves the project", "its root is"
    ),
    whole("absolute path", PIPELINE.replace("sort", "/etc/passwd"), "4:13", "leaves the project"),
    pipeline("layout out of the root", "    layout: ../../../etc/x.j2\n", "5:13", "leaves the project"),
    pipeline("examples out of the root", "    examples: {file: ../../../x.jsonl}\n", "5:22", "leaves the project"),
    prompt(
        "parent out of the root",
        "{% block instr",
        "{% extends '../../../x.j2' %}{% block instr",
        "5",
        "leaves the project",
    ),
    whole("tool out of the root", TOOL.replace("t.py", "../../t.py"), "1:12", "leads out of the project"),
    pipeline("unquoted braces", "    with: {mail: {{ mail }}}\n", "5:18", "`{{` needs quotes", '"{{ mail }}"'),
    pipeline("unquoted braces in a line", "output: {{ a }}\n", "5:9", "`{{` needs quotes", '"{{ a }}"'),
    pipeline("tab", "\tabout: x\n", "5:1", "tab", "indent with spaces"),
    prompt(
        "example that the answer type refuses",
        "answer:",
        "examples: [{input: {mail: x}, output: delivry}]\nanswer:",
        "3:39",
        "example 1 is not an answer: 'delivry' is not a known label; did you mean `delivery`?",
    ),
    prompt(
        "example of an unknown input",
        "answer:",
        "examples: [{input: {male: x}, output: delivery}]\nanswer:",
        "3:27",
        "`male` is not an input",
        "`mail`",
    ),
    prompt("example file that is missing", "answer:", "examples: {file: nope.jsonl}\nanswer:", "", "no such file"),
    pipeline("with of an unknown input", "    with: {mial: x}\n", "5:18", "no input `mial`", "`mail`"),
    whole(
        "two names alike", "inputs: {a: }\nsteps: {a: {prompt: sort, with: {mail: x}}}\n", "2:9", "an input and a step"
    ),
    pipeline("an item named like an input", "    for_each: '{{ [1] }}'\n    as: mail\n", "6:9", "is an input already"),
    whole("tool without its file", TOOL, "1:12", "no such file"),
    with_file(
        whole("tool without its function", TOOL.replace("py:f", "py:ff"), "1:12", "has no function `ff`", "`f`"),
        **{"pipelines/t_py": "def f(): pass\n"},
    ),
    with_file(whole("tool that is not Python", TOOL, "", "invalid syntax"), **{"pipelines/t_py": "def f(: pass\n"}),
    with_file(
        whole(
            "tool that its package lacks",
            TOOL.replace("t.py", "bad.t"),
            "1:12",
            "`bad.t` is neither a file of the project nor",
            "trusted_modules: [bad.t]",
        ),
        **{"bad/__init___py": "raise RuntimeError('oh')\n"},
    ),
    with_file(
        whole(
            "argument that a tool lacks",
            "tools: {t: t.py:f}\nsteps: {a: {tool: t, with: {y: 1}}}\n",
            "2:32",
            "no input `y`",
            "known: x",
        ),
        **{"pipelines/t_py": "def f(x=1): pass\n"},
    ),
    pipeline("case of an unknown input", "cases: [{inputs: {mial: x}}]\n", "5:25", "unknown input `mial`", "`mail`"),
    whole("a list's attribute misspelt", LOOP + "output: '{{ a.pair | as_map }}'\n", "4:9", "no `pair`", "`pairs`"),
    whole("a loop over a text", LOOP.replace("type: list", "type: text"), "3:17", "needs a list", "type: list"),
    whole("no steps", "steps: {}\n", "1:8", "`steps`: must not be empty"),
    Mistake("settings: unknown key", "promptkit.yaml", "modle: x\n", "1:1", "unknown key `modle`", "`model`"),
    Mistake("settings: model", "promptkit.yaml", "model: olama/x\n", "1:8", "not a model reference", "`ollama/x`"),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_named_at_its_place_before_any_request(project: Place, mistake: Mistake) -> None:
    project.write({mistake.file: mistake.content, **dict(mistake.others)})

    checked = project.run("check", "--json", "test")
    ran = project.run("run", "test")

    problems = json.loads(checked.out)["problems"]
    found = [problem for problem in problems if mistake.words in problem["message"]]
    assert checked.code == 1 and found, problems
    place = ":".join(str(found[0][key]) for key in ("line", "column") if found[0][key])
    assert place.startswith(mistake.place)
    assert not mistake.place or found[0]["file"] == mistake.file
    assert (mistake.hint or "") in (found[0]["hint"] or "")
    assert ran.code == 2 and mistake.words in ran.err and not ran.out
    assert "Traceback" not in checked.err + ran.err
    assert project.asked == 0


def test_an_option_that_is_set_without_its_group_is_pointed_there(project: Place) -> None:
    ran = project.run("run", "test", "--set", "a.max_tokens=10")

    assert "did you mean `options.max_tokens`?" in ran.err
    assert ran.code == 2 and project.asked == 0


def test_mistakes_of_several_files_are_all_reported_at_once(project: Place) -> None:
    added = """\
    promt: x
    layout: xlm
    technique: cot
    when: "{{ mial }}"
    options: {temperature: hot}
    answer: lable
  b: {prompt: srot}
output: "{{ c }}"
"""
    project.write(
        {
            PIPELINE_FILE: PIPELINE + added,
            PROMPT_FILE: PROMPT.replace("block instructions", "block instrutions").replace(
                "answer:", "messages: two\nanswer:"
            ),
        }
    )

    ran = project.run("run", "test", "--set", "b.repairs=many")

    for words in (
        *(
            "`promt`",
            "`xlm`",
            "`cot`",
            "`mial`",
            "`hot`",
            "`lable`",
            "`srot`",
            "`c`",
            "`instrutions`",
            "`two`",
            "`many`",
        ),
    ):
        assert words in ran.err, words
    assert ran.code == 2 and project.asked == 0


COMMANDS: list[tuple[str, list[str], int, str, str]] = [
    ("unknown target", ["run", "tset"], 2, "no pipeline or prompt `tset`", "did you mean `test`?"),
    ("unknown path", ["run", "pipelines/tset.yaml"], 2, "pipelines/tset.yaml", "`pipelines/test.yaml`"),
    ("unknown path above", ["run", "../zzz.yaml"], 2, "there is no pipeline or prompt", ""),
    ("folder", ["run", "pipelines"], 2, "there is no pipeline or prompt", ""),
    ("unknown verb", ["rnu", "test"], 2, "no verb `rnu`", "did you mean `run`?"),
    ("unknown option", ["run", "test", "--modle", "x"], 2, "--modle", "--model"),
    ("unknown input", ["run", "test", "mial=x"], 2, "no input `mial`", "did you mean `mail`?"),
    ("no value", ["run", "test", "mail"], 2, "`mail` is not an input", "write NAME=VALUE"),
    ("twice", ["run", "test", "mail=a", "mail=b"], 2, "given twice", ""),
    ("missing value", ["run", "test", "mail=@nope.txt"], 2, "nope.txt: no such file", ""),
    ("value that is no text", ["run", "test", "mail=@bad.txt"], 2, "bad.txt:1:1: not UTF-8", "save the file"),
    ("value that is a folder", ["run", "test", "mail=@pipelines"], 2, "cannot be read", ""),
    ("set: unknown step", ["run", "test", "--set", "b.layout=xml"], 2, "there is no step `b`", "known: a"),
    ("set: unknown key", ["run", "test", "--set", "a.layuot=xml"], 2, "--set a.layuot", "`layout`"),
    ("set: unknown value", ["run", "test", "--set", "a.layout=xlm"], 2, "--set a.layout: unknown layout", "`xml`"),
    ("set: no value", ["run", "test", "--set", "a.layout"], 2, "must be STEP.KEY=VALUE", ""),
    ("set: no YAML", ["run", "test", "--set", "a.answer={label: ["], 2, "--set a.answer", ""),
    ("model misspelt", ["run", "test", "--model", "olama/x"], 2, "--model: `olama/x`", "`ollama/x`"),
    ("GGUF missing", ["run", "test", "--model", "gguf:nope.gguf"], 2, "nope.gguf: no such file", ""),
    ("GGUF that is none", ["run", "test", "--model", "gguf:script.py"], 3, "it is not a GGUF file", ""),
    ("recording missing", ["run", "test", "--model", "replay:nope.jsonl"], 2, "nope.jsonl: no such file", ""),
    ("recording that is none", ["run", "test", "--model", "replay:script.py"], 2, "not a recording", "--record FILE"),
    ("script missing", ["run", "test", "--model", "scripted:scrip.yaml"], 2, "scrip.yaml: no such file", "script.py"),
    ("script without function", ["run", "test", "--model", "scripted:script.py:f"], 2, "no function `f`", "answer"),
    ("script that exits", ["run", "test", "--model", "scripted:exit.py:f"], 3, "SystemExit: 7 (exit.py:2)", ""),
    ("server down", ["run", "test", "--model", "ollama/x"], 3, "no server answers", "ollama serve"),
    ("server down, openai", ["run", "test", "--model", "openai/x@http://127.0.0.1:9/v1"], 3, "no server", "started"),
    ("rows missing", ["run", "test", "--input", "nope.jsonl"], 2, "nope.jsonl: no such file", ""),
    ("rows: ending", ["run", "test", "--input", "bad.txt"], 2, "bad.txt:1", "UTF-8"),
    (
        "rows: unknown input",
        ["run", "test", "--input", "rows.jsonl"],
        2,
        "rows.jsonl: row 1: the input `mail` is missing",
        "`mial`",
    ),
    ("rows: broken line", ["run", "test", "--input", "rows.jsonl"], 2, "rows.jsonl:3:", ""),
    ("rows and values", ["run", "test", "mail=x", "--input", "rows.jsonl"], 2, "not from both", ""),
    (
        "record in no folder",
        ["run", "test", "--record", "no/x.jsonl"],
        2,
        "`--record no/x.jsonl`: there is no folder `no`",
        "make the folder first",
    ),
    ("render: unknown step", ["render", "test", "--step", "b"], 2, "no step `b`", "known: a"),
    ("try: unknown input", ["try", "test", "mial=x"], 2, "no input `mial`", "`mail`"),
    ("init where there is a project", ["init", "."], 2, "there already", "nothing was written"),
    ("init in a file", ["init", "script.py"], 2, "no project can be made here", ""),
    ("models: no reference", ["models", "show", "olama/x"], 2, "not a model reference", "`ollama/x`"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "words", "hint"), [row[1:] for row in COMMANDS], ids=[r[0] for r in COMMANDS]
)
def test_a_wrong_command_line_says_what_would_be_right(
    project: Place, arguments: list[str], code: int, words: str, hint: str
) -> None:
    project.write(
        {
            "bad.txt": b"\xff",
            "exit.py": "import sys\nsys.exit(7)\ndef f(request): ...\n",
            "rows.jsonl": '{"mial": "a"}\n{"mail": 1}\n{bad\n',
        }
    )

    done = project.run(*arguments)

    assert (done.code, done.out) == (code, "")
    assert words in done.err and hint in done.err
    assert "Traceback" not in done.err and project.asked == 0


LONG, DIGITS = "x" * 5000, "9" * 5000
ODD = [
    *([verb, name] for verb in ("run", "check", "render", "try", "eval", "tune") for name in (LONG, f"a/{LONG}")),
    *(["run", "test", option, LONG] for option in ("--input", "--record", "--model", "--set")),
    ["run", "test", f"mail=@{LONG}"],
    ["run", "test", "--set", f"a.options.max_tokens={DIGITS}"],
    ["run", "test", "--set", f"a.options.seed={DIGITS[:200]}"],
    ["run", "test", "--set", "a.options.temperature=.nan"],
    ["eval", "s", "--html", LONG],
    ["eval", "s", "--repeat", DIGITS[:30]],
    ["eval", "s", "--smallest", "nan"],
    ["tune", "test", "--suite", "s", "--budget", f"calls={DIGITS}"],
    ["tune", "test", "--suite", "s", "--budget", "minutes=1e999"],
    ["techniques", "show", LONG],
    ["techniques", "prepare", "auto_cot", "test", "--data", "rows.jsonl", "--budget", f"calls={DIGITS}"],
    *(["runs", "show", "last", "--row", number] for number in ("0", "-1", DIGITS[:30])),
    ["runs", "show", DIGITS],
    ["runs", "list", "--limit", DIGITS[:30]],
    ["runs", "export", "last", "--csv", LONG],
    ["init", LONG],
]


@pytest.mark.attack("number")
@pytest.mark.parametrize("line", ODD, ids=[" ".join(each)[:50] for each in ODD])
def test_an_odd_value_on_the_command_line_is_refused(project: Place, line: list[str]) -> None:
    project.write({"evals/s.yaml": "data: rows.jsonl\ntarget: test\nmetrics: {m: label}\n"})
    project.write({"evals/rows.jsonl": '{"mail": "a", "expect": "delivery"}\n'})

    done = project.run(*line)

    assert done.code in (1, 2) and "Traceback" not in done.err and project.asked == 0


def test_the_variable_that_names_no_model_is_named(project: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write({"promptkit.yaml": ""})
    monkeypatch.setenv("PROMPTKIT_MODEL", "gpt4")

    done = project.run("run", "test")

    assert done.code == 2 and "PROMPTKIT_MODEL: `gpt4` is not a model reference" in done.err


TOOLS = [
    (
        "raises",
        "def f():\n    raise ValueError('no \\x1b[31m')\n",
        "raised ValueError: no [31m (pipelines/t.py:2)",
    ),
    ("returns a set", "def f():\n    return {1}\n", "returned what is not JSON"),
    ("returns NaN", "def f():\n    return float('nan')\n", "returned what is not JSON"),
    ("ends the process", "import sys\ndef f():\n    sys.exit(5)\n", "raised SystemExit: 5 (pipelines/t.py:3)"),
    ("ends it when imported", "import sys\nsys.exit(5)\ndef f(): pass\n", "SystemExit: 5 (pipelines/t.py:2)"),
    ("cannot be imported", "import nothing_here\ndef f(): pass\n", "No module named 'nothing_here' (pipelines/t.py:1)"),
]


@pytest.mark.attack("code")
@pytest.mark.parametrize(("text", "words"), [row[1:] for row in TOOLS], ids=[row[0] for row in TOOLS])
def test_a_tool_that_fails_is_named_with_its_line(project: Place, text: str, words: str) -> None:
    project.write({PIPELINE_FILE: TOOL, "pipelines/t.py": text})

    done = project.run("run", "test")

    assert (done.code, done.out) == (3, "")
    assert "step `a`: " in done.err and words in done.err and "Traceback" not in done.err


def test_what_a_tool_prints_is_no_result(project: Place) -> None:
    project.write({PIPELINE_FILE: TOOL, "pipelines/t.py": "def f():\n    print('noise')\n    return 1\n"})

    done = project.run("run", "test")

    assert (done.code, done.out) == (0, "1\n") and "noise" in done.err


def test_each_row_of_examples_that_is_wrong_is_named(project: Place) -> None:
    project.write(
        {
            PROMPT_FILE: PROMPT.replace("answer:", "examples: {file: x.jsonl}\nanswer:"),
            "templates/prompts/x.jsonl": '{"mail": "a"}\n{"mail": "b", "output": "payment"}\n{"output": "payment"}\n',
        }
    )

    done = project.run("run", "test")

    assert done.code == 2 and "row 1: there is no field `output`" in done.err and "row 3: there is none of" in done.err
    assert "`output: FIELD` under `examples` names another" in done.err
