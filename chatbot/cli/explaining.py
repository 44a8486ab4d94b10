"""The page of `chatbot explain`: four steps, each with what it is, its formula and its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from chatbot.cli.heat_map import draw_map, write_numbers
from chatbot.cli.logs.printing import count_of, find_width, fit, style
from chatbot.cli.wrapping import wrap

if TYPE_CHECKING:
    from chatbot.admin.explaining.explanation import Explanation
    from chatbot.admin.explaining.figures import Habit, Head
    from chatbot.admin.tokenizing.pieces import Piece

_MOST_NEIGHBOURS = 16  # tokens whose neighbours are shown unasked
_UNTRAINED = 0.95  # no two tokens that are in use are so near to each other
_NAME = 16  # cells of a token in a table
_BAR = 24  # cells
_NARROW_BAR = 14
_SIGNS: Mapping[Habit, str] = {"first": "F", "previous": "P", "itself": "S", "elsewhere": "E"}
_COLOURS: Mapping[Habit, str] = {"previous": "green", "itself": "yellow", "elsewhere": "magenta"}
"""Resting on the first token is what most heads do, so it has none."""


def describe_tokens(model: str, tokens: Sequence[Piece]) -> Iterator[str]:
    yield from _open("1. Tokens", f"ids = tokenize(text)  ·  {count_of(len(tokens), 'token')}")
    yield from wrap(
        f"{model} reads no letters. The tokenizer cuts the text into pieces of its vocabulary, and the model sees only "
        "their numbers. · is a space, ↵ the end of a line; ⟨…⟩ are bytes that are only part of a character."
    )
    yield ""
    yield from _draw_tokens(tokens, find_width())


def describe_neighbours(found: Explanation, *, asked: bool) -> Iterator[str]:
    yield from _open("2. Embeddings", "cos(a, b) = a·b / (|a| |b|)")
    yield from wrap(
        f"Each id picks a row of {found.width:,} learnt numbers, its embedding: the same ones wherever the token "
        "stands. Training moves tokens that are used alike in like directions; here are the nearest by the angle "
        "between them, 1 being the same direction."
    )
    yield ""
    width, shown = find_width(), set()
    places = []
    for place in found.neighbours:  # what stands there twice has the same neighbours
        if found.tokens[place].id not in shown:
            shown.add(found.tokens[place].id)
            places.append(place)
    most = len(places) if asked else _MOST_NEIGHBOURS
    digits = len(str(len(found.tokens) - 1))
    size = _fit_names([found.tokens[place] for place in places[:most]])
    for place in places[:most]:
        near = [f"{_shorten(piece.shown)} {cosine:.2f}" for piece, cosine in found.neighbours[place]]
        head = f"{place:>{digits}} " + style(fit(found.tokens[place].shown, size), bold=True)
        margin = digits + size + 1
        for line in _flow(near, width - margin):
            yield head + line
            head = " " * margin
    if any(cosine >= _UNTRAINED for place in places[:most] for _, cosine in found.neighbours[place]):
        yield from wrap(
            f"Neighbours at {_UNTRAINED} and above that have nothing in common were hardly trained: they have stayed "
            "near where they began."
        )
    if len(places) > most:
        yield f"…and {len(places) - most} more tokens: --token {places[most]} shows that one."


def describe_attention(found: Explanation, chosen: tuple[int, int] | None) -> Iterator[str]:
    yield from _open("3. Attention", "A = softmax(QKᵀ/√d), output = A·V  (Vaswani et al. 2017)")
    yield from wrap(
        "In each layer, each head lets every token gather from itself and those before it: a query Q is compared with "
        "the keys K of them all, and the weights A say how much of each one's value V is taken. A row of A adds up "
        "to 1."
    )
    if not found.heads:
        yield ""
        yield from wrap("This model has no attention of that kind, or does not give it out.")
        return
    yield ""
    if chosen is None:
        yield from _draw_heads(found.heads, find_width())
        yield ""
        yield from _name_heads(found.heads)
        return
    layer, head = chosen
    yield style(f"Layer {layer}, head {head}", bold=True)
    yield from wrap("Each row is a token that looks, each column one that is looked at.")
    yield from draw_map(found.find_map(layer, head), [token.shown for token in found.tokens], find_width())
    yield ""
    figures = found.heads[layer][head]
    shares = f"{figures.first:.0%} of it goes to the first token, {figures.previous:.0%} to the previous one"
    yield from wrap(f"On average {shares}, {figures.itself:.0%} to the token itself.")


def describe_next(found: Explanation) -> Iterator[str]:
    following = found.next
    tempered = following.temperature != 1.0
    yield from _open("4. The next token", "p = softmax(z/T),  H = −Σ p·log₂ p")
    yield from wrap(
        f"From the last token's vector come {following.vocabulary:,} numbers z, one for each token of the vocabulary; "
        "softmax makes probabilities of them. The entropy H says in bits how open the choice is: 0 is certain, and "
        "each bit doubles the choices. A temperature T under 1 sharpens the distribution, above 1 it flattens it."
    )
    yield ""
    bar = _NARROW_BAR if tempered else _BAR
    size = _fit_names(found.candidates)
    if tempered:
        name = f"T = {following.temperature:g}"
        yield " " * (size + 4) + f"{'T = 1':<{bar + 10}}{name}"
    for rank, (piece, one) in enumerate(zip(found.candidates, following.candidates, strict=True), 1):
        line = f"{rank:>2}  {fit(piece.shown, size)}" + _draw_share(one.probability, bar)
        if tempered:
            line += _draw_share(one.tempered, bar)
        yield line.rstrip()
    left = max(0.0, 1.0 - sum(one.probability for one in following.candidates))
    yield ""
    facts = [f"Entropy {following.entropy:.2f} bits", f"{left:.1%} is left for all other tokens"]
    if tempered:
        facts.insert(1, f"{following.tempered_entropy:.2f} bits at T = {following.temperature:g}")
    yield from wrap(", ".join(facts) + ".")


def _open(title: str, formula: str) -> Iterator[str]:
    yield style(title, bold=True) + "   " + style(formula, fg="cyan")


def _draw_tokens(tokens: Sequence[Piece], width: int) -> Iterator[str]:
    """Columns of place, token and id, in as many bands as are needed."""
    from rich.cells import cell_len

    bands: list[list[tuple[str, str, str, int]]] = [[]]
    used = 0
    for place, token in enumerate(tokens):
        cells = (str(place), token.shown, str(token.id))
        size = min(max(map(cell_len, cells)), width - 1)
        if bands[-1] and used + size + 1 > width:
            bands.append([])
            used = 0
        bands[-1].append((*cells, size))
        used += size + 1
    for number, band in enumerate(bands):
        if number:
            yield ""
        yield style(" ".join(fit(one[0], one[3]) for one in band).rstrip(), dim=True)
        yield style("│", dim=True).join(_name(one[1], one[3]) for one in band)
        yield style(" ".join(fit(one[2], one[3]) for one in band).rstrip(), fg="cyan")


def _name(text: str, size: int) -> str:
    return style(fit(text, size), bold=True)


def _draw_heads(heads: Mapping[int, Sequence[Head]], width: int) -> Iterator[str]:
    """A row for each head, a column for each layer."""
    most = max(map(len, heads.values()))
    margin = len(f"head {most - 1}  ")
    layers = sorted(heads)
    room = max((width - margin) // 2, 1)
    yield from wrap(
        "How each head attends, by what gets most of its weight: F the first token, P the previous one, S the token "
        "itself, E elsewhere. Small letters: less than half."
    )
    for start in range(0, len(layers), room):
        part = layers[start : start + room]
        for number, line in enumerate(write_numbers(part, 2)):
            yield (f"{'layer' if not number else '':<{margin}}" + line).rstrip()
        for head in range(most):
            row = "".join(
                " " + (_draw_habit(heads[layer][head]) if head < len(heads[layer]) else " ") for layer in part
            )
            yield f"{f'head {head}':<{margin}}" + row


def _draw_habit(head: Head) -> str:
    habit, share = head.habit
    sign = _SIGNS[habit] if share >= 0.5 else _SIGNS[habit].lower()
    if habit not in _COLOURS:
        return style(sign, dim=True)
    return style(sign, fg=_COLOURS[habit], bold=True)


def _name_heads(heads: Mapping[int, Sequence[Head]]) -> Iterator[str]:
    """The clearest head of each habit, as something to look at."""
    every = [(layer, number, head) for layer in sorted(heads) for number, head in enumerate(heads[layer])]
    words = {"first": "the first token", "previous": "the previous token", "itself": "the token itself"}
    for habit, words_of in (*words.items(), ("elsewhere", "other tokens")):
        layer, number, head = max(every, key=lambda one: getattr(one[2], habit))
        share = getattr(head, habit)
        yield f"Most to {words_of + ':':<20} --layer {layer} --head {number}  ({share:.0%})"
    yield from wrap(
        "A head that finds nothing to gather rests on the first token, whose value then adds little (attention sinks, "
        "Xiao et al. 2023). Give --layer and --head for a head's whole map."
    )


def _draw_share(share: float, bar: int) -> str:
    percent = "<0.1" if 0 < share < 0.0005 else f"{100 * share:.1f}"
    return f" {percent:>5} % " + style(f"{'█' * _round_bar(share, bar):<{bar}}", fg="green") + " "


def _round_bar(share: float, bar: int) -> int:
    return round(share * bar)


def _fit_names(pieces: Sequence[Piece]) -> int:
    """The cells that their names need, within limits."""
    from rich.cells import cell_len

    return min(max((cell_len(piece.shown) for piece in pieces), default=1), _NAME)


def _shorten(name: str) -> str:
    return fit(name, _NAME).rstrip()


def _flow(parts: Sequence[str], width: int) -> list[str]:
    """The parts side by side on lines of at most `width` cells, each two cells from the one before it."""
    from rich.cells import cell_len, set_cell_size

    lines, used = [""], 0
    for part in parts:
        size = min(cell_len(part), width - 2)
        if used and used + size + 2 > width:
            lines.append("")
            used = 0
        lines[-1] += "  " + (part if cell_len(part) == size else set_cell_size(part, size))
        used += size + 2
    return lines
