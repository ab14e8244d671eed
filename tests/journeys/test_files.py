"""What is not a regular file is named at once, wherever a file is read or written, and is never replaced."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.commands import PIPELINE, PROMPT, Place

pytestmark = pytest.mark.attack("path")

SECONDS = 20
SECRET = "what nobody may read"
SORT = "templates/prompts/sort.j2"
SUITE = "data: rows.jsonl\ntarget: test\nmetrics: {accuracy: label}\n"
ROWS = '{"mail": "a", "expect": "delivery"}\n{"mail": "b", "expect": "payment"}\n'
EXAMPLES = PROMPT.replace("answer:", "examples: {file: x.jsonl}\nanswer:")
TOOL = "inputs: {mail: {example: hi}}\ntools: {t: t.py:f}\nsteps: {a: {tool: t}}\n"
METRIC = "data: rows.jsonl\ntarget: test\nmetrics: {own: {python: {function: m.py:f}}}\n"
SCHEMA = "data: rows.jsonl\ntarget: test\nmetrics: {fits: {schema: {file: s.json}}}\n"
PREPARED = "    technique: auto_cot\n"

READ: list[tuple[str, str, list[str], dict[str, str]]] = [
    ("pipeline", "pipelines/p.yaml", ["run", "p"], {}),
    ("pipeline by its path", "pipelines/p.yaml", ["run", "pipelines/p.yaml"], {}),
    ("prompt", "templates/prompts/p.j2", ["run", "p"], {}),
    (
        "prompt of a step",
        "templates/prompts/p.j2",
        ["run", "test"],
        {"pipelines/test.yaml": PIPELINE + "  b: {prompt: p}\n"},
    ),
    ("parent", "templates/prompts/p.j2", ["run", "test"], {"templates/prompts/sort.j2": "{% extends 'p.j2' %}"}),
    (
        "part",
        "templates/prompts/p.j2",
        ["run", "test"],
        {"templates/prompts/sort.j2": PROMPT.replace("{{ mail }}", "{{ mail }}{% include 'p.j2' %}")},
    ),
    ("layout", "templates/layouts/own.j2", ["run", "test", "--set", "a.layout=own"], {}),
    ("technique's template", "templates/techniques/own/call.j2", ["run", "test", "--set", "a.technique=own"], {}),
    ("settings", "promptkit.yaml", ["run", "test"], {}),
    ("suite", "evals/s.yaml", ["eval", "s"], {}),
    ("suite by its path", "evals/s.yaml", ["eval", "evals/s.yaml"], {}),
    ("suite that is checked", "evals/s.yaml", ["check", "evals/s.yaml"], {}),
    ("data", "evals/rows.jsonl", ["eval", "s"], {"evals/s.yaml": SUITE}),
    (
        "baseline",
        "base.jsonl",
        ["eval", "s", "--against", "base.jsonl"],
        {"evals/s.yaml": SUITE, "evals/rows.jsonl": ROWS},
    ),
    ("metric's file", "evals/m.py", ["eval", "s"], {"evals/s.yaml": METRIC, "evals/rows.jsonl": ROWS}),
    ("metric's schema", "evals/s.json", ["eval", "s"], {"evals/s.yaml": SCHEMA, "evals/rows.jsonl": ROWS}),
    ("examples", "templates/prompts/x.jsonl", ["run", "test"], {"templates/prompts/sort.j2": EXAMPLES}),
    ("tool", "pipelines/t.py", ["run", "test"], {"pipelines/test.yaml": TOOL}),
    ("artifact", "pipelines/test.a.auto_cot.yaml", ["run", "test"], {"pipelines/test.yaml": PIPELINE + PREPARED}),
    ("rows", "rows.jsonl", ["run", "test", "--input", "rows.jsonl"], {}),
    ("rows in one document", "rows.json", ["run", "test", "--input", "rows.json"], {}),
    ("value", "mail.txt", ["run", "test", "mail=@mail.txt"], {}),
    ("recording", "r.jsonl", ["run", "test", "--model", "replay:r.jsonl"], {}),
    ("script", "s.yaml", ["run", "test", "--model", "scripted:s.yaml"], {}),
    ("script's function", "s.py", ["run", "test", "--model", "scripted:s.py:f"], {}),
    ("weights", "w.gguf", ["run", "test", "--model", "gguf:w.gguf"], {}),
]
WRITTEN: list[tuple[str, list[str]]] = [
    ("page", ["eval", "s", "--html"]),
    ("page of a tuning", ["tune", "sort", "--suite", "s", "--html"]),
    ("recording", ["run", "test", "--record"]),
    ("recording of a suite", ["eval", "s", "--record"]),
    ("page of a run", ["runs", "show", "last", "--html"]),
    ("cells", ["runs", "export", "last", "--jsonl"]),
    ("table", ["runs", "export", "last", "--csv"]),
    ("test cases", ["runs", "export", "last", "--junit"]),
    ("baseline", ["runs", "export", "last", "--baseline"]),
]

OUT: list[tuple[str, str, str, list[str], dict[str, str]]] = [
    ("prompt", "x.j2", "pipelines/test.yaml", ["run", "test"], {"pipelines/test.yaml": "steps: {a: {prompt: PATH}}\n"}),
    (
        "part",
        "x.j2",
        SORT,
        ["run", "test"],
        {SORT: PROMPT.replace("{{ mail }}", "{% include 'PATH' %}{{ mail }}")},
    ),
    ("parent", "x.j2", SORT, ["run", "test"], {SORT: "{% extends 'PATH' %}{% block input %}x{% endblock %}"}),
    (
        "macros",
        "x.j2",
        SORT,
        ["run", "test"],
        {SORT: PROMPT.replace("{{ mail }}", "{% import 'PATH' as x %}{{ mail }}")},
    ),
    (
        "layout",
        "x.j2",
        "pipelines/test.yaml",
        ["run", "test"],
        {"pipelines/test.yaml": PIPELINE + "    layout: PATH\n"},
    ),
    (
        "examples",
        "x.jsonl",
        SORT,
        ["run", "test"],
        {SORT: PROMPT.replace("answer:", "examples: {file: PATH}\nanswer:")},
    ),
    (
        "examples of a step",
        "x.jsonl",
        "pipelines/test.yaml",
        ["run", "test"],
        {"pipelines/test.yaml": PIPELINE + "    examples: {file: PATH}\n"},
    ),
    ("tool", "x.py", "pipelines/test.yaml", ["run", "test"], {"pipelines/test.yaml": TOOL.replace("t.py", "PATH")}),
    (
        "pipeline",
        "x.yaml",
        "pipelines/test.yaml",
        ["run", "test"],
        {"pipelines/test.yaml": "steps: {a: {pipeline: PATH}}\n"},
    ),
    *(
        (
            f"model, {kind}",
            f"x.{ending}",
            "pipelines/test.yaml",
            ["run", "test"],
            {"pipelines/test.yaml": PIPELINE + f"    model: {kind}:PATH{rest}\n"},
        )
        for kind, ending, rest in (
            ("gguf", "gguf", ""),
            ("replay", "jsonl", ""),
            ("scripted", "yaml", ""),
            ("scripted", "py", ":f"),
        )
    ),
    (
        "demonstrations",
        "x.jsonl",
        "pipelines/test.yaml",
        ["run", "test"],
        {"pipelines/test.yaml": PIPELINE + "    technique: {chain_of_thought: {demos: {reason: PATH}}}\n"},
    ),
    (
        "documents",
        "texts",
        "pipelines/test.yaml",
        ["run", "test"],
        {"pipelines/test.yaml": PIPELINE + "    technique: {verify_and_edit: {folder: PATH}}\n"},
    ),
    ("data", "x.jsonl", "evals/s.yaml", ["eval", "s"], {"evals/s.yaml": SUITE.replace("rows.jsonl", "PATH")}),
    (
        "data of a function",
        "x.py",
        "evals/s.yaml",
        ["eval", "s"],
        {"evals/s.yaml": SUITE.replace("rows.jsonl", "{python: 'PATH:f'}")},
    ),
    (
        "target",
        "x.yaml",
        "evals/s.yaml",
        ["eval", "s"],
        {"evals/s.yaml": SUITE.replace("target: test", "target: PATH")},
    ),
    ("metric", "x.py", "evals/s.yaml", ["eval", "s"], {"evals/s.yaml": METRIC.replace("m.py", "PATH")}),
    ("schema", "x.json", "evals/s.yaml", ["eval", "s"], {"evals/s.yaml": SCHEMA.replace("file: s.json", "file: PATH")}),
    (
        "rubric",
        "x.j2",
        "evals/s.yaml",
        ["eval", "s"],
        {
            "evals/s.yaml": SUITE.replace(
                "{accuracy: label}", "{m: {judge: {rubric: good?, scale: [1, 5], prompt: PATH}}}"
            )
        },
    ),
    (
        "baseline",
        "x.json",
        "evals/s.yaml",
        ["eval", "s"],
        {"evals/s.yaml": SUITE + "thresholds: {accuracy: {against: PATH, drop_at_most: 0.1}}\n"},
    ),
]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_socket(path: Path) -> None:
    os.chdir(path.parent)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)


def make_device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 7))


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (make_pipe, "it is a named pipe"),
    "socket": (make_socket, "it is a socket"),
    "folder": (Path.mkdir, "it is a folder"),
    "loop": (make_loop, "it is a symlink that leads back to itself"),
    "dangling": (make_dangling, "it is a symlink to a file that is not there"),
    "device": (make_device, "it is a device"),
}


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """Who waits for a pipe would wait for ever."""

    def too_long(*_: Any) -> None:
        raise AssertionError(f"not done in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(kind: str, path: Path) -> str:
    """Put something at a path that is not a regular file, and return what it is called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    make, told = KINDS[kind]
    try:
        make(path)
    except PermissionError:
        pytest.skip("only root makes devices")
    return told


@pytest.mark.parametrize("kind", ["pipe", "loop"])
@pytest.mark.parametrize(("file", "line", "files"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_what_is_read_is_a_file(
    project: Place, file: str, line: list[str], files: dict[str, str | bytes], kind: str
) -> None:
    project.write(files)
    told = put(kind, project.folder / file)

    done = project.run(*line)

    assert done.code in (1, 2), done
    assert file in done.err + done.out and told in done.err + done.out
    assert "Traceback" not in done.err and project.asked == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "socket"])
@pytest.mark.parametrize("line", [row[1] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
def test_what_is_written_is_a_file_or_nothing_is_asked(project: Place, line: list[str], kind: str) -> None:
    project.write({"evals/s.yaml": SUITE, "evals/rows.jsonl": ROWS})
    told = put(kind, project.folder / "out")
    before = os.lstat(project.folder / "out")

    done = project.run(*line, "out")

    assert done.code == 2 and f"{line[-1]} out`: {told}" in done.err and "hint: " in done.err, done
    assert os.lstat(project.folder / "out").st_mode == before.st_mode
    assert project.asked == 0


@pytest.mark.parametrize("line", [row[1] for row in WRITTEN], ids=[row[0] for row in WRITTEN])
def test_no_link_leads_what_is_written_out_of_the_project(
    project: Place, line: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.write({"evals/s.yaml": SUITE, "evals/rows.jsonl": ROWS})
    outside = tmp_path_factory.mktemp("outside")
    (outside / "kept").write_text("kept")
    (project.folder / "out").symlink_to(outside / "kept")
    (project.folder / "folder").symlink_to(outside)

    for out in ("out", "folder/new"):
        done = project.run(*line, out)
        assert done.code == 2 and "it is a symlink that leads out of the project" in done.err, done
    assert (outside / "kept").read_text() == "kept" and os.listdir(outside) == ["kept"]
    assert project.asked == 0


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/null", "/dev/full", "/proc/self/fd/1"])
@pytest.mark.parametrize(
    ("line", "instead"),
    [(["eval", "s", "--html"], "--json"), (["runs", "export", "last", "--csv"], "`-` is stdout")],
    ids=["page", "table"],
)
def test_what_stands_for_stdout_is_refused_with_the_option_that_prints(
    project: Place, line: list[str], instead: str, name: str
) -> None:
    project.write({"evals/s.yaml": SUITE, "evals/rows.jsonl": ROWS})

    done = project.run(*line, name)

    assert done.code == 2 and f"{line[-1]} {name}`: it is a" in done.err and project.asked == 0
    assert instead in done.err or "symlink" in done.err  # where the tests' stdout is a file on disk


@pytest.mark.parametrize("kind", ["pipe", "loop", "dangling", "folder"])
@pytest.mark.parametrize("name", ["store.db", "store.db-wal", "store.db-shm", "store.db-journal"])
def test_the_store_is_a_file_of_the_project(project: Place, name: str, kind: str) -> None:
    told = put(kind, project.folder / ".promptkit" / name)

    done = project.run("run", "test")

    assert done.code == 3 and f".promptkit/{name} cannot be written: {told}" in done.err and project.asked == 0


def test_the_store_is_not_led_out_of_the_project(project: Place, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (project.folder / ".promptkit").symlink_to(outside)

    done = project.run("run", "test")

    assert done.code == 3 and "leads out of the project" in done.err and not os.listdir(outside)


def test_a_link_inside_the_project_is_written_through(project: Place) -> None:
    project.write({"evals/s.yaml": SUITE, "evals/rows.jsonl": ROWS, "pages/page.html": ""})
    (project.folder / "page.html").symlink_to(project.folder / "pages" / "page.html")

    done = project.run("eval", "s", "--html", "page.html")

    assert done.code == 0, done
    assert (project.folder / "page.html").is_symlink()
    assert (project.folder / "pages" / "page.html").read_text().startswith("<!")


@pytest.mark.parametrize("name", ["promptkit.yaml", "pipelines/mail.yaml", "schemas/pipeline.json"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "dangling"])
def test_init_writes_over_nothing(project: Place, kind: str, name: str) -> None:
    put(kind, project.folder / "new" / name)

    done = project.run("init", "new")

    assert done.code == 2 and f"there already: new/{name}" in done.err and "nothing was written" in done.err


def test_a_preparation_is_refused_before_it_is_paid_for(project: Place) -> None:
    project.write({"rows.jsonl": ROWS, "pipelines/test.yaml": PIPELINE + PREPARED})
    put("dangling", project.folder / "pipelines" / "test.a.auto_cot.yaml")

    done = project.run("techniques", "prepare", "auto_cot", "test", "--data", "rows.jsonl", "--force")

    assert done.code == 2 and "it is a symlink to a file that is not there" in done.err and project.asked == 0


def test_an_endless_stdin_is_refused(project: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptkit.cli.inputs.MAX_FILE_BYTES", 1000)
    with open("/dev/zero") as endless:
        done = project.run("run", "test", "mail=-", stdin=endless)

    assert done.code == 2 and "stdin gives more than" in done.err and project.asked == 0


@pytest.mark.parametrize("how", ["upwards", "absolute", "link"])
@pytest.mark.parametrize(("name", "at", "line", "files"), [row[1:] for row in OUT], ids=[row[0] for row in OUT])
def test_no_file_names_one_outside_of_the_project(
    project: Place,
    name: str,
    at: str,
    line: list[str],
    files: dict[str, str],
    how: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    outside = tmp_path_factory.mktemp("outside") / name
    if "." in name:
        outside.write_text(SECRET)
    else:
        outside.mkdir()
        (outside / "text.txt").write_text(SECRET)
    beside = (project.folder / at).parent
    beside.mkdir(exist_ok=True)
    (beside / f"link-{name}").symlink_to(outside)
    path = {"upwards": os.path.relpath(outside, beside), "absolute": str(outside), "link": f"./link-{name}"}[how]
    project.write({"evals/rows.jsonl": ROWS, **{file: text.replace("PATH", path) for file, text in files.items()}})

    done = project.run(*line)

    assert done.code == 2 and ("leaves the project" in done.err or "leads out of" in done.err), done
    assert SECRET not in done.out + done.err and "Traceback" not in done.err and project.asked == 0
