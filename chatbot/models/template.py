"""How a conversation becomes the token ids that a model reads: the one renderer.

Chat, dataset building, training and evaluation all render here, because a model answers well only to the format that it
was trained on. It lives beside the models, below the engine and the dialogue, since both need it.

The text equals that of transformers' `apply_chat_template`, byte for byte, without its two seconds of imports. One
thing is added: what a person or a model wrote cannot pose as the format. A `<|im_end|>` inside a message would end the
turn and let the rest speak as the system; such tokens are broken by a zero-width space before they are rendered, in
the text itself, so that whoever tokenizes the rendering later is as safe as we are.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chatbot.errors import ModelDamaged
from chatbot.models.template_language import TemplateProgram, TemplateRefusal

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Role = Literal["system", "user", "assistant"]

_BREAK = "\u200b"
_CONTINUE_MARK = "CONTINUE_FINAL_MESSAGE_TAG "  # the one of transformers: templates that trim must see the same text
_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as the model is to read it."""

    role: Role
    content: str


class ChatTemplate:
    """A model's tokenizer and chat format. Safe to share between threads."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        source: str,
        *,
        named_tokens: dict[str, str] | None = None,
        eos_ids: frozenset[int] = frozenset(),
    ) -> None:
        """`source` is the Jinja template, empty for a model that has none: its conversations are plain text.
        `named_tokens` are bos_token, eos_token and so on, as the template asks for them.

        Raises ModelDamaged if `source` is no template.
        """
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer = tokenizer
        self.source = source
        self.sha256 = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        self._program = TemplateProgram(source) if source else None
        self._named_tokens = named_tokens or {}
        self._eos_ids = eos_ids
        self._beginning: list[int] | None = None
        added = tokenizer.get_added_tokens_decoder()
        special = {token.content for token in added.values() if token.special}
        # Reasoning and tool marks are often added but not special; a template that writes them gives them their power.
        written = self._program.literal_text if self._program else ""
        formatting = special | {
            token.content for token in added.values() if len(token.content.strip()) > 2 and token.content in written
        }
        self._special_pattern = _match_any(special)
        self._formatting_pattern = _match_any(formatting)
        self._special_ids = {number for number, token in added.items() if token.special}
        self.stop_ids: frozenset[int] = eos_ids | self._find_turn_end()
        """The ids that end a reply: end of text, and what the template writes after an assistant's message."""

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate:
        """The template of the model in `folder`. Raises ModelDamaged naming the file that cannot be read."""
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001  the library raises a bare Exception
            reason = "is missing" if not path.is_file() else f"is damaged ({str(error)[:200]})"
            raise ModelDamaged(f"{path} {reason}.", hint="`chatbot models show --verify` tells what else is.") from None
        settings = _read_json(folder / "tokenizer_config.json")
        source = find_template_source(folder, settings)
        tokens = read_named_tokens(folder, settings)
        eos_ids: set[int] = set()
        for name in ("generation_config.json", "config.json"):
            value = _read_json(folder / name).get("eos_token_id")
            values = value if isinstance(value, list) else [value]
            eos_ids.update(number for number in values if isinstance(number, int))
        if (number := tokenizer.token_to_id(tokens.get("eos_token", ""))) is not None:
            eos_ids.add(number)
        return cls(tokenizer, source, named_tokens=tokens, eos_ids=frozenset(eos_ids))

    def as_completer(self) -> ChatTemplate:
        """The same tokenizer for a model that was taught no conversation: it goes on with the text that was said.

        What all but the system said is read as one text, as it was written, after the token that begins a document.
        """
        completer = ChatTemplate(self.tokenizer, "", named_tokens=self._named_tokens, eos_ids=self._eos_ids)
        beginning = self.tokenizer.token_to_id(self._named_tokens.get("bos_token", ""))
        completer._beginning = [] if beginning is None else [beginning]
        return completer

    @property
    def completes(self) -> bool:
        """Whether it goes on with text instead of answering."""
        return self._beginning is not None

    def render(self, messages: Sequence[ChatMessage], *, continue_last: bool = False) -> str:
        """The text that the model reads, up to where its reply begins, or goes on if `continue_last`.

        A template that takes no system message gets it as the beginning of the first user message. Raises ModelRefused
        if the template refuses the conversation, for instance because roles do not alternate.
        """
        if not messages:
            raise ValueError("a conversation without messages cannot be rendered")
        cleaned = [ChatMessage(message.role, self._disarm(message)) for message in messages]
        if self._beginning is not None:
            return "".join(message.content for message in cleaned if message.role != "system")
        if self._program is None:
            text = "\n\n".join(message.content for message in cleaned)
            return text if continue_last else text + "\n\n"
        try:
            return self._run(self._program, cleaned, continue_last)
        except TemplateRefusal:
            if cleaned[0].role != "system" or len(cleaned) < 2 or cleaned[1].role != "user":
                raise
            merged = ChatMessage("user", f"{cleaned[0].content}\n\n{cleaned[1].content}")
            return self._run(self._program, [merged, *cleaned[2:]], continue_last)

    def encode(self, messages: Sequence[ChatMessage], *, continue_last: bool = False) -> list[int]:
        """The token ids of `render`. The template writes the beginning-of-text token itself if the model wants one."""
        text = self.render(messages, continue_last=continue_last)
        if self._beginning is not None:
            return self._beginning + list(self.tokenizer.encode(text, add_special_tokens=False).ids)
        return list(self.tokenizer.encode(text, add_special_tokens=self._program is None).ids)

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """How many tokens of the window `messages` take, the beginning of the reply included."""
        return len(self.encode(messages))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _run(self, program: TemplateProgram, messages: Sequence[ChatMessage], continue_last: bool) -> str:
        turns: list[dict[str, Any]] = [{"role": message.role, "content": message.content} for message in messages]
        if continue_last:
            turns[-1]["content"] += _CONTINUE_MARK
        variables: dict[str, Any] = {**self._named_tokens, "tools": None, "documents": None}
        text = program.render({**variables, "messages": turns, "add_generation_prompt": not continue_last})
        if not continue_last:
            return text
        mark = _CONTINUE_MARK.strip()
        if mark not in text or messages[-1].content.strip() not in text:
            raise TemplateRefusal("The model's chat template drops an unfinished reply, so it cannot be continued.")
        place = text.rindex(mark)
        if text[place:].startswith(_CONTINUE_MARK):
            return text[:place]
        return text[:place].rstrip()  # the template trims its messages, so the space before the mark is not the text's

    def _disarm(self, message: ChatMessage) -> str:
        """The content with every token of the format broken in two.

        An assistant's own reasoning marks stay: templates look for them to leave old reasoning out.
        """
        pattern = self._special_pattern if message.role == "assistant" else self._formatting_pattern
        # Half of a surrogate pair, as a careless decoder makes it, is no text to the tokenizer.
        content = message.content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        normalizer = self.tokenizer.normalizer
        if normalizer is not None and pattern.search(normal := normalizer.normalize_str(content)):
            content = normal  # full-width signs and the like, which would become a token only in the tokenizer
        while pattern.search(content):  # again, because tokens may overlap
            content = pattern.sub(_break_token, content)
        return content

    def _find_turn_end(self) -> frozenset[int]:
        """The special token that the template puts behind an assistant's message, if it does."""
        if self._program is None:
            return frozenset()
        mark = "TURN"
        messages = [ChatMessage("user", "?"), ChatMessage("assistant", mark), ChatMessage("user", "?")]
        try:
            rest = self._run(self._program, messages, False).partition(mark)[2]
        except TemplateRefusal:
            return frozenset()
        ids = self.tokenizer.encode(rest.lstrip(), add_special_tokens=False).ids
        return frozenset(number for number in ids[:1] if number in self._special_ids)


def find_template_source(folder: Path, settings: dict[str, Any]) -> str:
    """The Jinja source: chat_template.jinja, else what tokenizer_config.json (`settings`) holds, else ''."""
    path = folder / "chat_template.jinja"
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.") from None
    found = settings.get("chat_template")
    if isinstance(found, list):  # several templates by name
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else ""


def read_named_tokens(folder: Path, settings: dict[str, Any]) -> dict[str, str]:
    """bos_token and so on; tokenizer_config.json (`settings`) wins over the older special_tokens_map.json."""
    named: dict[str, str] = {}
    for source in (_read_json(folder / "special_tokens_map.json"), settings):
        for name in _NAMED_TOKENS:
            value = source.get(name)
            content = value.get("content") if isinstance(value, dict) else value
            if isinstance(content, str):
                named[name] = content
    return named


def _break_token(found: re.Match[str]) -> str:
    token = found[0]
    return token[0] + _BREAK + token[1:] if len(token) > 1 else _BREAK


def _match_any(tokens: set[str]) -> re.Pattern[str]:
    longest_first = sorted((token for token in tokens if token.strip()), key=lambda token: (-len(token), token))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _read_json(path: Path) -> dict[str, Any]:
    """The object in `path`, {} if there is no such file. Raises ModelDamaged."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelDamaged(f"{path} cannot be read: {error}.") from None
    return content if isinstance(content, dict) else {}
