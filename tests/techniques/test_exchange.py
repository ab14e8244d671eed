"""What an exchange tells: the words of a reply, without those that its turn was to begin with."""

from pathlib import Path

import pytest

from promptkit.techniques import perform
from tests.techniques.steps import Bench, without

HEADED = """\
---
begin: "Because of this, note:"
---
{% extends prompt %}
"""
MODULE = '''
from promptkit.techniques import Answer, Task, technique


@technique()
async def headed(task: Task) -> Answer:
    """Write what comes after a head."""
    return task.parse((await task.ask("note")).said)
'''


@pytest.mark.parametrize(
    ("reply", "lacking", "said"),
    [
        (" it rains.", (), "it rains."),
        ("Because of this, note: it rains.", (), "it rains."),
        ("because of this, NOTE: it rains.", ("continue",), "it rains."),
        ("it rains.", ("continue",), "it rains."),
        ("Because of this it rains.", ("continue",), "Because of this it rains."),
    ],
)
async def test_a_repeated_head_is_no_part_of_what_is_said(
    tmp_path: Path, reply: str, lacking: tuple[str, ...], said: str
) -> None:
    (tmp_path / "techniques").mkdir()
    (tmp_path / "techniques" / "headed.py").write_text(MODULE)
    (tmp_path / "templates" / "techniques" / "headed").mkdir(parents=True)
    (tmp_path / "templates" / "techniques" / "headed" / "note.j2").write_text(HEADED)
    bench = Bench(tmp_path, [reply], "text", capabilities=without(*lacking))

    assert (await perform("headed", bench.step())).value == said
