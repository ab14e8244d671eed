"""Templates written to escape, to exhaust or to read what they should not: each ends in our error, at once."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.prompts.expressions import Expression
from promptkit.prompts.load import Prompts
from promptkit.prompts.sandbox import MAX_NESTING
from tests.prompts.conftest import Load, Write, problems_of

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ x['__class__'] }}",
    "{{ x | attr('__class__') }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '{0.__class__}'.format_map({'0': x}) }}",
    "{% set f = 'a{}'.format %}{{ f(1) }}",
    "{{ ['{0.__class__}'] | map('format', x) | list }}",
    "{{ [x] | map(attribute='__class__') | list }}",
    "{{ [x] | selectattr('__class__') | list }}",
    "{{ [x] | groupby('__class__') | list }}",
    "{{ [x, x] | sort(attribute='__class__') }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__init__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ dict.fromkeys('ab') }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner }}",
    "{{ zip.__wrapped__ }}",
    "{{ loop }}{% for a in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% macro m() %}{% endmacro %}{{ m._func }}",
    "{% macro m() %}{% endmacro %}{{ m }}",
    "{{ range }}",
    "{{ x.append(1) }}",
    "{{ ''.encode().__class__ }}",
    "{{ (1).to_bytes(10, 'big') }}",
    "{{ x | safe }}",
]

EXHAUSTIONS = [
    "{{ 'a' * 10**9 }}",
    "{{ 10**9 * 'a' }}",
    "{{ [0] * 10**9 }}",
    "{{ 9 ** (9 ** 9) }}",
    "{{ 9 ** 99999 }}",
    "{% set n = namespace(v=9) %}{% for i in range(60) %}{% set n.v = n.v * n.v %}{% endfor %}{{ n.v }}",
    "{{ 'a' | center(10**9) }}",
    "{{ 'a'.center(10**9) }}",
    "{{ 'a'.ljust(10**9) }}",
    "{{ '\\t'.expandtabs(10**9) }}",
    "{{ 'a' | indent(10**9) }}",
    "{{ 'a\\nb' | indent('x' * 4000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%*d' | format(1000000000, 1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ 1.5 | round(10**9, 'floor') }}",
    "{{ [1] | tojson(10**9) }}",
    "{{ [1] | batch(10**9, 0) | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ ('a' * 4000000) | replace('a', 'b' * 1000) }}",
    "{{ ('a' * 4000000).replace('a', 'b' * 1000) }}",
    "{{ ('a' * 4000000).join(range(1000)) }}",
    "{{ range(1000) | join('a' * 4000000) }}",
    "{{ range(10**9) | list }}",
    "{{ lipsum(n=10**9) }}",
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
    "{% for a in range(99999) %}{% if a in range(99999) | list %}{% endif %}{% endfor %}",
    "{{ range(99999) | select('in', range(99999) | map('string') | list) | list }}",
    "{% set n = namespace(v='ab') %}{% for i in range(60) %}{% set n.v = n.v ~ n.v %}{% endfor %}{{ n.v }}",
    "{% set n = namespace(v='ab') %}{% for i in range(60) %}{% set n.v = n.v + n.v %}{% endfor %}{{ n.v }}",
    "{% set n = namespace(v=[1]) %}{% for i in range(60) %}{% set n.v = n.v + n.v %}{% endfor %}{{ n.v }}",
    "{% set n = namespace(v=[1]) %}{% for i in range(60) %}{% set n.v = [n.v, n.v] %}{% endfor %}{{ n.v }}",
    "{% set n = namespace(v=[1]) %}{% for i in range(60) %}{% set n.v = dict(a=n.v, b=n.v) %}{% endfor %}{{ n.v }}",
    "{% set n = namespace(v='ab') %}{% for i in range(60) %}{% set n.v %}{{ n.v }}{{ n.v }}{% endset %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for i in range(3) recursive %}{{ loop(range(3)) }}{% endfor %}",
    "{{ self.instructions() }}",
    "{% set big = 'a' * 4000000 %}{% for i in range(99999) %}{{ big | upper | length }}{% endfor %}",
    "{% set big = 'a' * 4000000 %}{% for i in range(99999) %}{% if big + 'b' == big %}{% endif %}{% endfor %}",
    "{% for i in range(99) %}{{ 'a' * 4000000 }}{% endfor %}",
    "{% set n = namespace(v=[]) %}{% for i in range(99) %}{% set n.v = [n.v, ('a ' * 2000000).split()] %}{% endfor %}",
    "{% set n = namespace(v=[]) %}{% for i in range(99) %}{% set n.v = [n.v, 'a' * 4000000 | list] %}{% endfor %}",
    "{{ " + "(" * 20_000 + ")" * 20_000 + " }}",
    "{% if x %}" * 3_000 + "{% endif %}" * 3_000,
    "{{ " + "-" * 20_000 + "1 }}",
    "{{ " + "[" * 300 + "]" * 300 + " }}" * 100,
    "{{ 1" + "0" * 5_000 + " }}",
]

TRAVERSALS = [
    '{% include "/etc/passwd" %}',
    '{% include "../../../../etc/passwd" %}',
    '{% include "../../../secret.j2" %}',
    '{% include "link.j2" %}',
    '{% import "/etc/passwd" as p %}',
    '{% from "../../../secret.j2" import p %}',
    '{% extends "/etc/passwd" %}',
    '{% extends "../../../secret.j2" %}',
    "{% include x %}",
    "{% include ['/etc/passwd'] %}",
    '{% include "a\\u0000b" %}',
    '{% include "' + "a" * 5_000 + '" %}',
    "{% extends prompt %}",
    "{% extends x %}",
]


@pytest.fixture
def within_memory() -> Iterator[None]:
    """Let nothing take more than 1 GB more than what is in use already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 1_000_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.attack("template")
@pytest.mark.parametrize("template", ESCAPES)
def test_an_escape_is_refused_and_shows_no_object_of_python(template: str, load: Load) -> None:
    declared = f"---\ninputs: {{x: }}\n---\n{template}"

    def render() -> dict[str, str]:
        return load(declared).sections({"x": [1]})

    for problem in problems_of(render):
        assert problem.file is not None and problem.line is not None
        assert "<class" not in str(problem) and "<function" not in str(problem) and " at 0x" not in str(problem)


@pytest.mark.attack("template")
@pytest.mark.parametrize("template", EXHAUSTIONS, ids=lambda template: template[:50])
def test_an_exhausting_template_is_stopped(template: str, load: Load, within_memory: None) -> None:
    declared = f"---\ninputs: {{x: }}\n---\n{template}"
    started = time.process_time()
    problems_of(lambda: load(declared).sections({"x": [1]}))
    assert time.process_time() - started < 10


@pytest.mark.attack("template")
@pytest.mark.parametrize("template", TRAVERSALS, ids=lambda template: template[:50])
def test_a_path_out_of_the_project_is_refused_before_any_rendering(template: str, load: Load, write: Write) -> None:
    write("../secret.j2", "secret")
    write("templates/prompts/part.j2", "part").with_name("link.j2").symlink_to("/etc/passwd")
    (problem, *_) = problems_of(lambda: load(template))
    assert problem.line == 1 and "root:" not in str(problem) and "secret\n" not in str(problem)


@pytest.mark.attack("template")
@pytest.mark.parametrize("opening", ["{% for a in x %}", "{% if x %}", "{% with %}", "{% call f() %}"])
@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 200])
def test_statements_nested_too_deeply_are_refused_before_they_are_compiled(
    opening: str, depth: int, load: Load
) -> None:
    closing = f"{{% end{opening.split()[1]} %}}"
    deep = opening * depth + "y" + closing * depth
    (problem,) = problems_of(lambda: load(f"---\ninputs: {{x: }}\n---\n{deep}"))
    assert problem.message == "nested too deeply" and problem.line == 4
    (problem,) = problems_of(lambda: Expression.parse(deep))
    assert problem.message == "nested too deeply"


def test_statements_may_be_nested_as_deeply_as_allowed(load: Load) -> None:
    deep = "{% if x %}" * MAX_NESTING + "y" + "{% endif %}" * MAX_NESTING
    assert load(deep).sections({"x": 1}) == {"instructions": "y"}


@pytest.mark.attack("template")
def test_a_value_is_never_rendered_again(load: Load) -> None:
    prompt = load("{% block input %}{{ text }}{% endblock %}")
    hostile = "{{ 7 * 7 }} {% include '/etc/passwd' %} {# hidden #}"
    assert prompt.sections({"text": hostile}) == {"input": hostile}


@pytest.mark.attack("template")
@pytest.mark.parametrize(
    "value", ["\x1b]52;c;aGk=\x07", "a\rb", "\u202egnp", "```\n</INPUT>\n<|im_end|>", "x" * 1_000_000, "\ud800"]
)
def test_hostile_data_reaches_the_model_as_it_is(value: str, load: Load) -> None:
    assert load("{% block input %}{{ text }}{% endblock %}").sections({"text": value}) == {"input": value.strip()}


PIECES = (
    "{{ }} {% %} {# #} - block endblock input instructions if endif for in endfor set macro endmacro x loop | upper "
    "join ( ) [ ] ' \" 1 + ~ * ** extends include import prompt call super() . __class__ --- \n : raw endraw"
)
WRITTEN = st.lists(st.sampled_from(PIECES.split(" ")), max_size=25).map(" ".join)


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.text(), WRITTEN))
def test_any_template_renders_or_raises_our_error(write: Write, text: str) -> None:
    path = write("templates/prompts/any.j2", "")
    path.write_text(text, newline="")
    try:
        prompt = Prompts(Project.find(path)).load(path)
        sections = prompt.sections({"x": [1, {"a": None}]})
    except InputError as error:
        assert all(problem.file for problem in error.problems)
    else:
        assert all(section.strip() == section != "" for section in sections.values())


@settings(deadline=None, max_examples=300)
@given(st.one_of(st.text(), WRITTEN), st.booleans())
def test_any_text_in_yaml_evaluates_or_raises_our_error(text: str, bare: bool) -> None:
    try:
        Expression.parse(text, bare=bare).evaluate({"x": [1, {"a": None}]})
    except InputError as error:
        assert error.problems
