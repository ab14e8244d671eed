"""What the README and the pages in docs/ show is what promptkit does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from promptkit.answers.base import Unparsed
from promptkit.answers.build import build_answer_type
from promptkit.errors import InputError
from promptkit.prompts.expressions import Expression
from promptkit.storage.yaml import load
from tests.docs.pages import ROOT, Example, agrees, commands, examples, install_packages, pages, run, write_files
from tests.docs.project import problems_of

INSTALL = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/promptkit run pipelines/feedback.yaml\n",
    ".venv/bin/pip install -e '.[dev]' && .venv/bin/pytest\n",
)
SCRIPT = re.compile(r"python ([\w./]+\.py)(?: [^\n]*)?\n")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def all_examples(*kinds: str) -> list[Example]:
    return [example for page in pages() for example in examples(page) if example.kind in kinds]


def by_place(value: object) -> str:
    return value.name if isinstance(value, Path) else str(value)


def test_every_fence_says_what_it_is() -> None:
    assert [str(example) for example in all_examples("unknown")] == []


def test_the_pages_hold_examples_of_every_kind() -> None:
    for kind in ("file", "answer", "expressions", "console", "sh"):
        assert all_examples(kind), kind


def test_the_readme_has_the_two_commands() -> None:
    shown = [example.body for example in examples(pages()[0]) if example.kind == "sh"]
    assert tuple(shown) == INSTALL


@pytest.mark.parametrize("example", all_examples("sh"), ids=by_place)
def test_a_command_that_is_only_shown_is_one_of_the_readme_or_a_script_that_is_there(example: Example) -> None:
    script = SCRIPT.fullmatch(example.body)
    assert example.body in INSTALL or (script and (ROOT / script[1]).is_file())


def anchors(page: Path) -> set[str]:
    """Return what a link may name in a page, as it is made of its headings."""
    titles = HEADING.findall(page.read_text("utf-8"))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=by_place)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    for file, anchor in LINK.findall(page.read_text("utf-8")):
        target = (page.parent / file).resolve() if file else page
        assert target.is_file(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", pages(), ids=by_place)
def test_the_files_of_a_page_hold_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = write_files(page, tmp_path)
    monkeypatch.syspath_prepend(str(install_packages(tmp_path)))
    wrong = {tmp_path / example.words[0] for example in files if example.is_wrong}
    found = problems_of(tmp_path)
    assert {file: problems for file, problems in found.items() if problems and file not in wrong} == {}
    assert {file for file in wrong if not found.get(file)} == set()


@pytest.mark.parametrize("page", [page for page in pages() if "```console" in page.read_text("utf-8")], ids=by_place)
def test_the_commands_of_a_page_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    write_files(page, tmp_path)
    for example in examples(page):
        for command in commands(example) if example.kind == "console" else ():
            printed = run(command, tmp_path, example.settings)
            assert agrees(command.output, printed), f"{example}: $ {command.text}\n{printed}"


@pytest.mark.parametrize("example", all_examples("console"), ids=by_place)
def test_a_console_begins_with_a_command(example: Example) -> None:
    assert example.body.startswith("$ ")


def content(example: Example) -> Any:
    return load(example.body, file=str(example)).value


@pytest.mark.parametrize("example", all_examples("answer"), ids=by_place)
def test_an_answer_type_writes_and_reads_as_the_page_says(example: Example) -> None:
    shown = content(example)
    assert shown.keys() <= {"answer", "value", "written", "read too", "refused"}
    answer = build_answer_type(shown["answer"])
    assert answer.write(shown["value"]) == shown["written"]
    for text in (shown["written"], *shown.get("read too", [])):
        assert answer.parse(text) == shown["value"], text
    for text in shown.get("refused", []):
        with pytest.raises(Unparsed):
            answer.parse(text)


@pytest.mark.parametrize("example", all_examples("expressions"), ids=by_place)
def test_expressions_give_what_the_page_says(example: Example) -> None:
    shown = content(example)
    assert shown.keys() <= {"with", "gives", "errors"}
    scope = shown.get("with", {})
    for text, value in shown.get("gives", {}).items():
        given = Expression.parse(text).evaluate(scope)
        assert (type(given), given) == (type(value), value), text
    for text, message in shown.get("errors", {}).items():
        with pytest.raises(InputError) as caught:
            Expression.parse(text).evaluate(scope)
        assert message in str(caught.value), text
