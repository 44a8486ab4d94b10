"""One small record of each format, and a conversation of our own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from chatbot.store.archive_records import ArchivedConversation, ArchivedFeedback, ArchivedMessage

OPENAI = {
    "messages": [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
    ]
}
SHAREGPT = {"id": "x_0", "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
ALPACA = {"instruction": "Add", "input": "1 + 1", "output": "2", "system": "S", "history": [["Q", "A"]]}


def oasst_reply(name: str, role: str, rank: int | None, *replies: Any, **more: Any) -> dict[str, Any]:
    return {"message_id": name, "text": f"text {name}", "role": role, "rank": rank, "replies": list(replies), **more}


OASST = {
    "message_tree_id": "tree",
    "prompt": oasst_reply(
        "r",
        "prompter",
        None,
        oasst_reply("w", "assistant", 1),
        oasst_reply("g", "assistant", None, oasst_reply("under", "prompter", None), deleted=True),
        oasst_reply("b", "assistant", 0, oasst_reply("q", "prompter", None, oasst_reply("a", "assistant", None))),
        created_date="2023-01-02T03:04:05.000006+01:00",
    ),
}


def chatgpt_node(name: str, parent: str | None, role: str, *parts: Any, **more: Any) -> dict[str, Any]:
    content = {"content_type": more.pop("content_type", "text"), "parts": list(parts)}
    message = {"author": {"role": role}, "content": content, "create_time": 1704067200.25, **more}
    return {"id": name, "parent": parent, "message": message, "children": []}


CHATGPT: dict[str, Any] = {
    "title": "Cats",
    "conversation_id": "c-1",
    "create_time": 1704067200.25,
    "update_time": None,
    "is_archived": True,
    "current_node": "tool2",
    "mapping": {
        "late": chatgpt_node("late", "hello", "assistant", "Other branch"),
        "root": {"id": "root", "parent": None, "message": None, "children": ["system"]},
        "system": chatgpt_node("system", "root", "system", ""),
        "settings": chatgpt_node("settings", "system", "user", "about me", content_type="user_editable_context"),
        "secret": chatgpt_node(
            "secret", "settings", "user", "h", metadata={"is_visually_hidden_from_conversation": True}
        ),
        "hello": chatgpt_node("hello", "secret", "user", "Draw", {"content_type": "image_asset_pointer"}),
        "thoughts": chatgpt_node("thoughts", "hello", "assistant", content_type="thoughts"),
        "call": chatgpt_node("call", "thoughts", "assistant", "draw()", recipient="dalle.text2im"),
        "tool": chatgpt_node("tool", "call", "tool", "drawn"),
        "answer": chatgpt_node(
            "answer", "tool", "assistant", "Done", metadata={"model_slug": "gpt-4o"}, recipient="all"
        ),
        "tool2": chatgpt_node("tool2", "answer", "tool", "ok"),
    },
}


CLAUDE: dict[str, Any] = {
    "uuid": "u-1",
    "name": "Tea",
    "created_at": "2024-05-01T10:00:00.123456Z",
    "chat_messages": [
        {"uuid": "m1", "sender": "human", "text": "Tea?", "created_at": "2024-05-01T10:00:00Z", "attachments": []},
        {
            "uuid": "m2",
            "sender": "assistant",
            "text": "Yes. This block is not supported.",
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Yes."}, {"type": "tool_use"}],
        },
        {
            "uuid": "m3",
            "sender": "human",
            "text": "",
            "attachments": [{"file_name": "n.txt", "extracted_content": "N"}],
        },
    ],
}


CHITCHAT = {
    "uuid-1": {
        "prompt": "Do you like rain?",
        "ratings": {"witty": 5},
        "start": "2018-05-03T01:38:01Z",
        "messages": [
            [
                {"text": "Hello", "timestamp": "2018-05-02T19:38:15Z", "sender": "one"},
                {"text": "", "timestamp": "2018-05-02T19:38:20Z", "sender": "one"},
            ],
            [{"text": "Hi", "timestamp": "2018-05-02T19:38:29Z", "sender": "two"}],
        ],
    }
}


QUESTION = {"role": "user", "content": "Q"}
GOOD, BAD = {"role": "assistant", "content": "good"}, {"role": "assistant", "content": "bad"}


def message(key: str, parent: str | None, content: str = "", **more: Any) -> ArchivedMessage:
    role = more.pop("role", "assistant" if key.startswith("a") else "user")
    return ArchivedMessage(key=key, parent=parent, role=role, content=content or f"text {key}", **more)


TREE = ArchivedConversation(
    "own-key",
    (
        message("u1", None),
        message("a1", "u1", model="tiny", feedback=(ArchivedFeedback(preferred_over="a2"),)),
        message("a2", "u1"),
        message("u2", "a1", hidden=True),
        message("u3", "a1", created=datetime(2024, 1, 2, 3, 4, tzinfo=UTC)),
    ),
    title="A *title*",
    system_prompt="Be kind.",
    tip="u3",
)
