"""The Jinja environment of transformers' apply_chat_template, with every operation counted.

Jinja compiles a template to Python. What it lets an environment watch (operators, calls) is watched there; for the rest
the syntax tree is changed before it is compiled, so that loops, `~` and slices become calls of this environment.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn, cast

import jinja2
from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import markup_join, str_join
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from chatbot.errors import ModelRefused
from chatbot.models import template_sizes as sizes

MAX_STEPS = 1_000_000  # 10,000 messages at a hundred steps each
MAX_MADE = 1 << 28  # characters that all operations of a render may make together
# They help with web pages and with looking for faults, no model's format uses them, and their sizes are hard to bound.
_LEFT_OUT = ("pprint", "urlize", "wordwrap", "xmlattr")


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """The environment of transformers' apply_chat_template, with the leash."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            finalize=self._spend_output,
            extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"],
        )
        self._steps: ContextVar[list[int] | None] = ContextVar("steps", default=None)
        self.filters["tojson"] = _to_json
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = _format_now
        self.globals["dict"] = _TemplateDict()
        self.globals["namespace"] = _TemplateNamespace
        del self.globals["lipsum"]
        for name in _LEFT_OUT:
            del self.filters[name]
        self.filters = {name: self._watch_filter(name, function) for name, function in self.filters.items()}

    def budget(self) -> _Budget:
        return _Budget(self._steps)

    def take_step(self) -> None:
        steps = self._steps.get()
        if steps is not None:
            steps[0] += 1
            if steps[0] > MAX_STEPS:
                raise ModelRefused(f"The chat template does not come to an end within {MAX_STEPS:,} steps.")

    def spend(self, size: int) -> None:
        """Counts `size` characters that are about to be made."""
        sizes.check_size(size)
        steps = self._steps.get()
        if steps is not None:
            steps[1] += size
            if steps[1] > MAX_MADE:
                raise ModelRefused(f"The chat template makes more than {MAX_MADE:,} characters.")

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for loop in list(tree.find_all(nodes.For)):
            iterable = cast("nodes.Expr", loop.iter)
            loop.iter = self._make_call("watch", [iterable, nodes.Const(_weigh(loop))], loop.lineno)
        _Rewriting(self._make_call).visit(tree)
        tree.set_environment(self)
        return tree

    def _make_call(self, method: str, arguments: list[nodes.Expr], line: int) -> nodes.Expr:
        return nodes.Call(nodes.EnvironmentAttribute(method, lineno=line), arguments, [], None, None, lineno=line)

    def watch(self, iterable: Iterable[Any], weight: int) -> Iterable[Any]:
        """What a loop runs over, each turn counted. Lists stay lists: templates ask for `loop.length` and `last`."""
        if isinstance(iterable, list | tuple):
            return _WatchedList(iterable, self, weight)
        return self._watch_each(iterable, weight)

    @jinja2.pass_eval_context
    def concatenate(self, context: nodes.EvalContext, *parts: Any) -> str:
        """The operator `~`."""
        self.spend(sum(map(sizes.measure, parts)))
        return markup_join(parts) if context.autoescape else str_join(parts)

    def cut(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        """`value[start:stop:step]`; its size is counted as that of every call."""
        return value[start:stop:step]

    def _spend_output(self, value: Any) -> Any:
        self.spend(sizes.measure(value))
        return value

    def _watch_filter(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        first = 1 if hasattr(function, "jinja_pass_arg") else 0  # before the value come Jinja's own arguments

        @functools.wraps(function)
        def watch(*args: Any, **kwargs: Any) -> Any:
            value = args[first]
            if name == "join" and isinstance(value, Iterator):
                value = list(value)
            self.spend(sizes.measure_filter(name, value, args[first + 1 :], kwargs))
            result = function(*args[:first], value, *args[first + 1 :], **kwargs)
            self.spend(sizes.measure_made(result))
            return result

        return watch

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        formatter = super().wrap_str_format(value)
        if formatter is None:
            return None

        @functools.wraps(formatter)
        def format_text(*args: Any, **kwargs: Any) -> str:
            self.spend(sizes.measure_format(value.__self__, args, kwargs))
            return formatter(*args, **kwargs)

        return format_text

    def _watch_each(self, iterable: Iterable[Any], weight: int) -> Iterator[Any]:
        for item in iterable:
            self.take_step()
            self.spend(weight)
            yield item

    def call(self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        self.take_step()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str | bytes | int):
            name = str(getattr(__obj, "__name__", ""))
            if name == "join" and args and isinstance(args[0], Iterator):
                args = (list(args[0]), *args[1:])
            self.spend(sizes.measure_method(owner, name, args, kwargs))
        result = super().call(__context, __obj, *args, **kwargs)
        self.spend(sizes.measure_made(result))
        return result

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        self.spend(sizes.measure_operation(operator, left, right))
        return super().call_binop(context, operator, left, right)


def _weigh(loop: nodes.For) -> int:
    """The characters that one turn of `loop` can write or make without any operation: texts and lists in its source."""
    texts = sum(len(node.data) for node in loop.find_all(nodes.TemplateData))
    items = sum(len(node.items) for node in loop.find_all(nodes.List))
    items += sum(len(node.items) for node in loop.find_all(nodes.Tuple))
    items += sum(len(node.items) for node in loop.find_all(nodes.Dict))
    return texts + sizes.ITEM * items


class _Rewriting(NodeTransformer):
    """`a ~ b` and `a[b:c]` become calls, because Jinja has no other place to watch them."""

    def __init__(self, make_call: Callable[[str, list[nodes.Expr], int], nodes.Expr]) -> None:
        self._make_call = make_call

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  as Jinja calls it
        self.generic_visit(node)
        return self._make_call("concatenate", node.nodes, node.lineno)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802  as Jinja calls it
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = [part or nodes.Const(None) for part in (node.arg.start, node.arg.stop, node.arg.step)]
        return self._make_call("cut", [node.node, *bounds], node.lineno)


class _WatchedList(list[Any]):
    def __init__(self, items: Iterable[Any], environment: TemplateEnvironment, weight: int) -> None:
        super().__init__(items)
        self._environment = environment
        self._weight = weight

    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            self._environment.take_step()
            self._environment.spend(self._weight)
            yield item


class _Budget:
    """Within the block, the steps and characters of this thread are counted from zero."""

    def __init__(self, steps: ContextVar[list[int] | None]) -> None:
        self._steps = steps

    def __enter__(self) -> None:
        self._token = self._steps.set([0, 0])

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
