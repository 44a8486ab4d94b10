"""The language that chat templates are written in: Jinja as transformers configures it, on a leash.

A template comes with a model from a stranger, so it is a program from a stranger. Jinja's immutable sandbox keeps it
from the interpreter's insides, but not from running for ever or filling the memory: here each render has a budget of
steps (a step is one turn of a loop or one call), the sizes that `*` and `**` may make are limited, and so is what comes
out. Every way that a template can fail leaves as a ModelError.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatbot.errors import ModelDamaged, ModelRefused
from chatbot.text import printable_line

MAX_TEMPLATE = 256 * 1024  # characters; the longest in use (tool calling, vision) have about 20,000
MAX_STEPS = 1_000_000  # 10,000 messages at a hundred steps each
MAX_OUTPUT = 64 << 20  # characters
_MAX_REPEAT = 1 << 20  # what a `*` of text or a list may make
_MAX_EXPONENT = 1024


class TemplateProgram:
    """A compiled template. Safe to share between threads."""

    def __init__(self, source: str) -> None:
        """Raises ModelDamaged if `source` is no template, ModelRefused if it is unreasonably long."""
        if len(source) > MAX_TEMPLATE:
            raise ModelRefused(f"The chat template has {len(source):,} characters; {MAX_TEMPLATE:,} are allowed.")
        self.source = source
        self._environment = _Environment()
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


class _Environment(ImmutableSandboxedEnvironment):
    """The environment of transformers' apply_chat_template, with the leash."""

    intercepted_binops = frozenset(["*", "**"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
        )
        self._steps: ContextVar[list[int] | None] = ContextVar("steps", default=None)
        self.filters["tojson"] = _to_json
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _format_now
        self.globals["dict"] = _TemplateDict()
        self.globals["namespace"] = _TemplateNamespace

    def budget(self) -> _Budget:
        return _Budget(self._steps)

    def take_step(self) -> None:
        steps = self._steps.get()
        if steps is not None:
            steps[0] += 1
            if steps[0] > MAX_STEPS:
                raise ModelRefused(f"The chat template does not come to an end within {MAX_STEPS:,} steps.")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Call(
                nodes.EnvironmentAttribute("watch", lineno=loop.lineno),
                [loop.iter],
                [],
                None,
                None,
                lineno=loop.lineno,
            )
        tree.set_environment(self)
        return tree

    def watch(self, iterable: Iterable[Any]) -> Iterable[Any]:
        """What a loop runs over, each turn counted. Lists stay lists: templates ask for `loop.length` and `last`."""
        return _WatchedList(iterable, self) if isinstance(iterable, list | tuple) else self._watch_each(iterable)

    def _watch_each(self, iterable: Iterable[Any]) -> Iterator[Any]:
        for item in iterable:
            self.take_step()
            yield item

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.take_step()
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > _MAX_REPEAT:
                    raise SecurityError("it repeats a text or a list too many times")
        elif not isinstance(left, int | float) or not isinstance(right, int | float) or abs(right) > _MAX_EXPONENT:
            raise SecurityError("it computes too large a power")
        return super().call_binop(context, operator, left, right)


class _WatchedList(list[Any]):
    def __init__(self, items: Iterable[Any], environment: _Environment) -> None:
        super().__init__(items)
        self._environment = environment

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self._environment.take_step()
            yield item


class _Budget:
    """Within the block, steps of this thread are counted from zero."""

    def __init__(self, steps: ContextVar[list[int] | None]) -> None:
        self._steps = steps

    def __enter__(self) -> None:
        self._token = self._steps.set([0])

    def __exit__(self, *_: object) -> None:
        self._steps.reset(self._token)


class _GenerationBlock(Extension):
    """`{% generation %}` marks what the assistant wrote, for training; when rendering it stands for its content."""

    tags = {"generation"}  # noqa: RUF012  as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A call block, because what is set inside must stay inside, as it does in transformers.
        return nodes.CallBlock(self.call_method("_render_body"), [], [], body).set_lineno(line)

    def _render_body(self, caller: Callable[[], str]) -> str:
        return caller()


class _TemplateDict:
    """`dict` without its class, whose attributes lead out of the sandbox."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)


class _TemplateNamespace(jinja2.utils.Namespace):
    """`namespace` that stores no name with a leading underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        instance, *rest = args
        attributes = dict(*rest, **kwargs)
        for name in attributes:
            _check_attribute(name)
        jinja2.utils.Namespace.__init__(instance, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


def _check_attribute(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError("it stores an attribute whose name starts with an underscore")


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Jinja's own filter escapes HTML, which models never saw in training."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _format_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)  # noqa: DTZ005  the wall clock of the person, as transformers does


def _describe(error: BaseException) -> str:
    return printable_line(str(error), 200).rstrip(".") or type(error).__name__
