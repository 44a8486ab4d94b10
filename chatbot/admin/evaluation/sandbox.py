"""Where the templates of lm-evaluation-harness are run: Jinja's sandbox instead of the plain environment.

A template is read before it is run (`task_files`), but what it asks for may stand in the rows of the data, which only
whoever runs it can see: `{{ question[field] }}` is harmless or not by what `field` says. So the sandbox looks at every
attribute when it is taken, and of Jinja's functions, through which a template could reach Python's modules, only
`range` is there. No task that the harness ships uses another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from jinja2 import Environment

_ESCAPE = "{{ ''['__class__'] }}"


def make_environment() -> Environment:
    """Like the harness's own, with its filter, in the sandbox."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals = {"range": environment.globals["range"]}
    environment.filters["regex_replace"] = _replace
    return environment


@contextmanager
def confine_templates(module: Any) -> Iterator[None]:
    """While it lasts, `module`, which is `lm_eval.utils`, renders its templates in the sandbox. Raises InvalidInput if
    it does not, as a release of another form might."""
    from jinja2.exceptions import SecurityError

    usual = getattr(module, "env", None)
    module.env = make_environment()
    try:
        try:
            module.apply_template(_ESCAPE, {})
        except SecurityError:
            pass
        else:
            raise InvalidInput(
                "The templates of this release of lm-evaluation-harness cannot be confined.",
                hint="pip install 'chatbot[lm-eval]' brings one that can.",
            )
        yield
    finally:
        module.env = usual


def _replace(text: str, pattern: str, replacement: str, count: int = 0) -> str:
    return re.sub(pattern, replacement, text, count=count)
