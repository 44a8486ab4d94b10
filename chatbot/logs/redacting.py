"""Redacting conversations: what would be masked, shown first; then masked for good.

The whole conversation is taken, not one reply: what trains is a reply with all that stands above it, and a secret in a
prompt is as bad as one in its answer. Title, system prompt, draft, and people's comments and tags are searched as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from chatbot.logs.findings import Finding, Kind
from chatbot.logs.redaction import Redactor
from chatbot.store.database import Store
from chatbot.store.records import Message
from chatbot.store.redactions import Replacement


@dataclass(frozen=True, slots=True)
class RedactionPreview:
    """What would change in one conversation."""

    conversation_id: str
    counts: Mapping[Kind, int]
    messages: tuple[tuple[Message, tuple[Finding, ...]], ...]
    """Those with findings, in their order."""
    texts: Mapping[str, Replacement] = field(default_factory=dict)
    title: Replacement | None = None
    system_prompt: Replacement | None = None
    draft: Replacement | None = None
    comments: Mapping[str, Replacement] = field(default_factory=dict)
    tags: Mapping[str, tuple[Replacement, ...]] = field(default_factory=dict)

    def list_beside(self) -> Iterator[tuple[str, Replacement]]:
        """What is no message: (what it is, the texts)."""
        places = {"title": self.title, "system prompt": self.system_prompt, "draft": self.draft}
        yield from ((where, text) for where, text in places.items() if text is not None)
        yield from (("comment", text) for text in self.comments.values())
        yield from (("tag", text) for texts in self.tags.values() for text in texts)

    @property
    def changes_training(self) -> bool:
        """Whether anything would be masked that a model may have learnt."""
        return bool(self.texts) or self.system_prompt is not None

    @property
    def is_empty(self) -> bool:
        return not self.counts

    def describe(self) -> str:
        """Such as “2 e-mail, 1 card”."""
        return ", ".join(f"{count} {kind}" for kind, count in sorted(self.counts.items()))


def preview_redaction(store: Store, redactor: Redactor, conversation_id: str) -> RedactionPreview:
    """Searches a conversation, hidden messages too; changes nothing. Raises NotFound."""
    conversation = store.conversations.get(conversation_id)
    counts: Counter[Kind] = Counter()
    found: list[tuple[Message, tuple[Finding, ...]]] = []
    texts: dict[str, Replacement] = {}

    def mask(text: str) -> Replacement | None:
        redacted = redactor.redact(text)
        if not redacted.counts:
            return None
        counts.update(redacted.counts)
        return Replacement(text, redacted.text)

    for message in store.logs.tree(conversation_id, hidden=True):
        if (masked := mask(message.content)) is not None:
            texts[message.id] = masked
            found.append((message, tuple(redactor.find(message.content))))
    comments = {key: mask(comment) for key, comment in store.redactions.comments(conversation_id).items()}
    tags = {
        key: tuple(masked for tag in dict.fromkeys(own) if (masked := mask(tag)) is not None)
        for key, own in store.redactions.tags(conversation_id).items()
    }
    return RedactionPreview(
        conversation_id,
        counts,
        tuple(found),
        texts,
        title=mask(conversation.title),
        system_prompt=mask(store.redactions.system_prompt(conversation_id)),
        draft=mask(store.conversations.draft(conversation_id)),
        comments={key: text for key, text in comments.items() if text is not None},
        tags={key: own for key, own in tags.items() if own},
    )


def apply_redaction(store: Store, preview: RedactionPreview, *, author: str) -> None:
    """Masks what the preview showed. Raises InvalidInput if the conversation has changed since."""
    store.redactions.apply(
        preview.conversation_id,
        preview.texts,
        author=author,
        note=preview.describe(),
        title=preview.title,
        system_prompt=preview.system_prompt,
        draft=preview.draft,
        comments=preview.comments,
        tags=preview.tags,
    )
