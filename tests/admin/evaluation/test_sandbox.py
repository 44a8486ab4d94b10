"""Templates of the harness reach nothing but the document, whatever its rows say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, TemplateError

from chatbot.admin.evaluation.sandbox import confine_templates, make_environment
from chatbot.errors import InvalidInput


def make_harness() -> Any:
    """As `lm_eval.utils` has it."""
    module = SimpleNamespace(env=Environment(autoescape=True))
    module.apply_template = lambda text, doc: module.env.from_string(text).render(**doc)
    return module


@pytest.mark.parametrize(
    "template",
    [
        "{{ q[field] }}",
        "{{ q['strip'][field] }}",
        "{{ range[field] }}",
        "{{ range['_' ~ '_globals__'] }}",
        "{% for name in [field] %}{{ q[name] }}{% endfor %}",
        "{{ lipsum['_' ~ '_globals__'] }}",
        "{{ cycler }}",
        "{{ made.append(1) }}",
        "{{ (q ~ '{0.__class__}').format(q) }}",
    ],
)
@pytest.mark.parametrize("field", ["__class__", "__globals__", "__init__"])
def test_names_that_come_from_rows_lead_nowhere(template: str, field: str) -> None:
    harness = make_harness()
    row = {"q": "Why?", "field": field, "made": []}
    with confine_templates(harness), pytest.raises(TemplateError):
        harness.apply_template(template, row)


def test_what_tasks_do_is_done() -> None:
    text = "{% for n in range(2) %}{{ n }}{% endfor %} {{ q.strip() | regex_replace('h.', 'H') }} {{ row['a'] }}\n"
    found = make_environment().from_string(text).render(q=" Why? ", row={"a": 1})
    assert found == "01 WH? 1\n"


def test_the_usual_environment_comes_back() -> None:
    harness = make_harness()
    usual = harness.env
    with pytest.raises(KeyError), confine_templates(harness):
        assert harness.env is not usual
        raise KeyError
    assert harness.env is usual


def test_a_release_that_renders_otherwise_is_refused() -> None:
    aside = Environment(autoescape=True)
    harness = SimpleNamespace(apply_template=lambda text, doc: aside.from_string(text).render(**doc))
    with pytest.raises(InvalidInput, match="cannot be confined"), confine_templates(harness):
        pytest.fail("it ran")
