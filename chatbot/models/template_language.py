"""The language that chat templates are written in: Jinja as transformers configures it, on a leash.

A template comes with a model from a stranger, so it is a program from a stranger. Jinja's immutable sandbox keeps it
from the interpreter's insides, but not from running for ever or filling the memory. Here each render has a budget of
steps (a step is one turn of a loop or one call) and one of characters made (by operators, calls, filters, output and
slices; see template_sizes); one text has a largest length, and so has what comes out. That is a leash, not a wall: the
largest budgets still allow about a gigabyte and some seconds. Every way that a template can fail leaves as a
ModelError.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jinja2
from jinja2 import nodes

from chatbot.errors import ModelDamaged, ModelRefused
from chatbot.models.template_environment import TemplateEnvironment
from chatbot.text import printable_line

MAX_TEMPLATE = 256 * 1024  # characters; the longest in use (tool calling, vision) have about 20,000
MAX_OUTPUT = 64 << 20  # characters


class TemplateProgram:
    """A compiled template. Safe to share between threads."""

    def __init__(self, source: str) -> None:
        """Raises ModelDamaged if `source` is no template, ModelRefused if it is unreasonably long."""
        if len(source) > MAX_TEMPLATE:
            raise ModelRefused(f"The chat template has {len(source):,} characters; {MAX_TEMPLATE:,} are allowed.")
        self.source = source
        self._environment = TemplateEnvironment()
        try:
            self._template = self._environment.from_string(source)
            tree = self._environment.parse(source)
        except jinja2.TemplateSyntaxError as error:
            raise ModelDamaged(f"The chat template is damaged in line {error.lineno}: {_describe(error)}.") from None
        except (RecursionError, MemoryError, ValueError, SyntaxError, OverflowError):
            raise ModelRefused("The chat template is nested too deeply to be compiled.") from None
        literals = [node.data for node in tree.find_all(nodes.TemplateData)]
        literals += [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
        self.literal_text = "\0".join(literals)
        """Every text that the template itself contains, so that one can see which tokens it writes."""

    def render(self, variables: Mapping[str, Any]) -> str:
        """The text for `variables`. Raises TemplateRefusal if the template itself objects, else ModelRefused."""
        pieces: list[str] = []
        length = 0
        with self._environment.budget():
            try:
                for piece in self._template.generate(**variables):
                    length += len(piece)
                    if length > MAX_OUTPUT:
                        raise ModelRefused(f"The chat template writes more than {MAX_OUTPUT:,} characters.")
                    pieces.append(piece)
            except ModelRefused:
                raise
            except jinja2.TemplateError as error:
                raise TemplateRefusal(f"The model's chat template refuses: {_describe(error)}.") from None
            except Exception as error:  # noqa: BLE001  a template can raise whatever its expressions can
                reason = f"{type(error).__name__}: {_describe(error)}" if str(error) else type(error).__name__
                raise TemplateRefusal(f"The model's chat template fails: {reason}.") from None
        return "".join(pieces)


class TemplateRefusal(ModelRefused):
    """The template ran and said no, for instance to a system message; another conversation may pass."""


def _describe(error: BaseException) -> str:
    return printable_line(str(error), 200).rstrip(".") or type(error).__name__
