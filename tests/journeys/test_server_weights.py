"""Cells of a model behind a server are known as long as the same weights answer there."""

from __future__ import annotations

from pathlib import Path

from tests.command import run_command
from tests.runtimes.servers.openai_server import OpenAIServer, serving_in_thread

SUITE = """\
data: rows.jsonl
target: name
inputs: {thing: "{{ row.thing }}"}
metrics: {right: exact}
"""
PROMPT = """\
---
inputs: {thing: {example: tea}}
---
{% block instructions %}Name it.{% endblock %}
{% block input %}{{ thing }}{% endblock %}
"""


def test_other_weights_behind_the_same_name_are_asked_again(tmp_path: Path) -> None:
    for name, text in {
        "evals/names.yaml": SUITE,
        "evals/rows.jsonl": '{"thing": "tea", "expect": "x"}\n{"thing": "salt", "expect": "x"}\n',
        "templates/prompts/name.j2": PROMPT,
        "promptkit.yaml": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    with serving_in_thread(OpenAIServer(frozenset({"logprobs"}))) as server:

        def cached() -> tuple[int, str]:
            model = f"openai/mini@{server.url}"
            done = run_command(
                "eval",
                "names",
                "--model",
                model,
                "--json",
                folder=tmp_path,
                variables={"PROMPTKIT_CACHE": str(tmp_path)},
            )
            assert done.code == 0, done.err
            record = done.json
            return record["variants"][0]["cached"], record["model"]["digest"]

        first, again = cached(), cached()
        server.score = -2.0  # started again with another file of the same name
        other = cached()
        server.score = -1.0
        back = cached()

    assert [first[0], again[0], other[0], back[0]] == [0, 2, 0, 2]
    assert first[1] == again[1] == back[1] != other[1]
