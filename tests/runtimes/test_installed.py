"""Runtimes of installed packages: found by entry point, checked for their shape, guarded when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from promptkit.errors import BadReply, InputError, PromptkitError, ServerBusy, ServerFailed, Unsupported
from promptkit.runtimes.base import FunctionCall, Message, Request, ToolDefinition
from promptkit.runtimes.client import Client
from promptkit.runtimes.references import open_runtime, parse_reference

Install = Callable[..., None]

HEAD = """
from promptkit.errors import ServerBusy
from promptkit.runtimes.base import FunctionCall, Model, Reply, Runtime

class Mine(Runtime):
    def __init__(self, name): self.name = name
    async def model(self):
        return Model(reference="mine/" + self.name, digest="1", capabilities=frozenset({"chat"}))
"""
ANSWER = HEAD + "    async def answer(self, request, on_text=None): return "
REQUEST = Request(messages=(Message("user", "Hello"),))


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return the function that installs code as the package whose runtime has the word `mine`."""
    site, project = tmp_path / "site", tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)

    def install(code: str, where: Path = site) -> None:
        info = where / "mine-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text("[promptkit.runtimes]\nmine = mine_of_a_test:Mine\n", "utf-8")
        (where / "mine_of_a_test.py").write_text(code, "utf-8")
        monkeypatch.syspath_prepend(str(where))
        monkeypatch.delitem(sys.modules, "mine_of_a_test", raising=False)

    return install


async def opened() -> Client:
    return Client(await open_runtime("mine/large", base=Path()), attempts=1)


async def test_the_word_of_a_package_opens_its_runtime_by_the_models_name(install: Install) -> None:
    install(ANSWER + "Reply(text='I am ' + self.name)")
    client = await opened()
    assert (await client.ask(REQUEST)).text == "I am large"
    assert (await client.model()).reference == "mine/large"
    assert (await client.count(REQUEST.messages), await client.tokenize("a")) == (None, None)
    await client.close()


async def test_a_runtime_of_a_package_may_call_the_tools_that_it_is_offered(install: Install) -> None:
    install(
        ANSWER.replace('{"chat"}', '{"chat", "function_calls"}')
        + "Reply(text='', calls=(FunctionCall(id='a', name=request.tools[0].name, arguments='{}'),))"
    )
    tool = ToolDefinition(name="look", description="", parameters={"type": "object"})
    reply = await (await opened()).ask(replace(REQUEST, tools=(tool,)))
    assert reply.calls == (FunctionCall(id="a", name="look", arguments="{}"),)


def test_a_reference_is_read_without_running_the_package(install: Install) -> None:
    install("raise SystemExit(3)")
    reference = parse_reference("mine/a/b:c")
    assert (reference.kind, reference.runtime, reference.name, reference.is_local) == (
        "installed",
        "mine",
        "a/b:c",
        False,
    )


@pytest.mark.parametrize("text", ["mine:large", "mine/", "mine/ ", "other/large"])
def test_what_no_package_has_a_word_for_is_not_a_reference(install: Install, text: str) -> None:
    install(ANSWER + "None")
    with pytest.raises(InputError):
        parse_reference(text)


@pytest.mark.attack("code")
def test_metadata_in_the_project_brings_no_runtime(install: Install) -> None:
    install(ANSWER + "None", where=Path.cwd())
    with pytest.raises(InputError, match="`mine/large` is not a model reference"):
        parse_reference("mine/large")


WRONG_CLASSES = [
    ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    ("Mine = 3", "is not a subclass of `promptkit.runtimes.base.Runtime`"),
    (HEAD, "`Mine` does not define `answer`"),
    (HEAD + "    def answer(self, request, on_text=None): pass", "`answer` of `Mine` must be an `async def`"),
    (HEAD + "    async def answer(self, request): pass", "`answer` of `Mine` must take (self, request, on_text)"),
    ((ANSWER + "None").replace("self, name", "self"), "cannot open mine/large: TypeError"),
]


@pytest.mark.parametrize(("code", "text"), WRONG_CLASSES, ids=[text for _, text in WRONG_CLASSES])
async def test_a_class_of_a_wrong_shape_is_an_error_before_anything_is_sent(
    install: Install, code: str, text: str
) -> None:
    install(code)
    with pytest.raises(InputError) as caught:
        await opened()
    assert text in str(caught.value) and "`mine`" in str(caught.value)


WRONG_ANSWERS: list[tuple[str, type[PromptkitError], str]] = [
    ("1 / 0", ServerFailed, "mine/large raised ZeroDivisionError: division by zero"),
    ("None", ServerFailed, "mine/large returned NoneType, not a Reply"),
    ("Reply(text=3)", BadReply, "mine/large returned a Reply whose values cannot be true"),
    ("Reply(text='a', tokens_in=-1)", BadReply, "mine/large returned a Reply whose values cannot be true"),
    (
        "Reply(text='', calls=({'name': 'look'},))",
        BadReply,
        "mine/large returned a Reply whose values cannot be true",
    ),
    (
        "Reply(text='', calls=(FunctionCall(id='a', name='look', arguments={}),))",
        BadReply,
        "mine/large returned a Reply whose values cannot be true",
    ),
    ("(_ for _ in ()).throw(ServerBusy('later'))", ServerBusy, "later"),
]


@pytest.mark.parametrize(("answer", "error", "text"), WRONG_ANSWERS, ids=[answer for answer, *_ in WRONG_ANSWERS])
async def test_whatever_a_package_raises_or_returns_becomes_an_error_of_ours(
    install: Install, answer: str, error: type[PromptkitError], text: str
) -> None:
    install(ANSWER + answer)
    with pytest.raises(error) as caught:
        await (await opened()).ask(REQUEST)
    assert text in str(caught.value)


async def test_vectors_are_checked(install: Install) -> None:
    code = (
        ANSWER.replace('{"chat"}', '{"chat", "embeddings"}')
        + "None\n    async def embed(self, texts): return [[NAN]]\n"
    )
    install(code + "NAN = float('nan')\n")
    with pytest.raises(BadReply, match="no vector of finite numbers"):
        await (await opened()).embed(["a"])


async def test_a_description_that_is_not_a_model_is_an_error(install: Install) -> None:
    install((ANSWER + "None").replace('Model(reference="mine/" + self.name, ', "dict("))
    with pytest.raises(ServerFailed, match="described itself by dict, not by a Model"):
        await (await opened()).model()


async def test_without_vectors_of_its_own_a_runtime_has_none(install: Install) -> None:
    install(ANSWER + "None")
    with pytest.raises(Unsupported):
        await (await opened()).runtime.embed(["a"])
