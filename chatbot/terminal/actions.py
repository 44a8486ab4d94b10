"""Everything that can be done in the chat, in one table.

The keys, the slash commands, the command palette and the help screen are four views of it, so none of them can promise
what another does not know. A name here is the name in `[terminal.keys]` of config.toml and, with `action_` before it,
a method of the chat screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chatbot.text import printable_line


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    title: str
    group: str
    keys: str = ""
    """Keys that work everywhere, separated by commas."""
    letter: str = ""
    """The key while a message is selected, where letters are free."""
    slash: str = ""
    argument: str = ""
    """What may follow the slash command, as the help shows it."""


ACTIONS = (
    Action("send", "Send the prompt", "Prompt", "enter"),
    Action("newline", "Start a new line", "Prompt", "shift+enter,alt+enter,ctrl+j"),
    Action("open_editor", "Write the prompt in $EDITOR", "Prompt", "ctrl+o", slash="editor"),
    Action("unfold", "Unfold the pasted text", "Prompt", "alt+u", slash="unfold"),
    Action("unqueue", "Take the last queued prompt back", "Prompt", "alt+q", slash="unqueue"),
    Action("stop", "Stop the reply; leave what is open", "Reply", "escape", slash="stop"),
    Action("regenerate", "Regenerate the reply", "Reply", "ctrl+r", "r", "regenerate"),
    Action("continue_reply", "Continue the reply", "Reply", "ctrl+g", "g", "continue"),
    Action("previous_sibling", "The alternative before this one", "Reply", "alt+left", "left", "previous"),
    Action("next_sibling", "The alternative after this one", "Reply", "alt+right", "right", "next"),
    Action("drop", "Drop the reply", "Reply", "", "x", "drop"),
    Action("rate_up", "Rate the reply up, or take that back", "Judging", "alt+y,f6", "plus", "up", "[COMMENT]"),
    Action("rate_down", "Rate the reply down, or take that back", "Judging", "alt+n,f7", "minus", "down", "[COMMENT]"),
    Action("tag", "Tag the reply, comment on it", "Judging", "alt+t", "t", "tag", "[TAGS]"),
    Action("correct", "Correct the reply in place", "Judging", "alt+w", "w", "correct"),
    Action("keep_correction", "Keep the correction", "Judging", "ctrl+s,ctrl+enter"),
    Action("best", "Prefer this alternative to the others", "Judging", "f8", "b", "best"),
    Action("duel", "Two models answer the next prompt", "Judging", "", "", "duel", "[MODEL MODEL]"),
    Action("review", "Review the replies that need an eye", "Judging", "", slash="review"),
    Action("copy_reply", "Copy the message", "Message", "alt+c", "c", "copy"),
    Action("copy_code", "Copy a code block", "Message", "alt+k", "k", "code", "[NUMBER]"),
    Action("edit_message", "Edit what I said, as a new branch", "Message", "alt+e", "e", "edit"),
    Action("delete_turn", "Delete this turn", "Message", "alt+d", "d", "delete"),
    Action("undo", "Take the last deletion or judgement back", "Message", "alt+z", "z", "undo"),
    Action("select_previous", "Select the message above", "Message", "alt+up", "up"),
    Action("select_next", "Select the message below", "Message", "alt+down", "down"),
    Action("scroll_back", "Scroll up", "Message", "pageup", "pageup"),
    Action("scroll_forward", "Scroll down", "Message", "pagedown", "pagedown"),
    Action("to_top", "To the beginning", "Message", "ctrl+home", "home", "top"),
    Action("to_end", "To the end, and follow", "Message", "ctrl+end", "end", "end"),
    Action("new_conversation", "New conversation", "Conversations", "ctrl+n", slash="new"),
    Action("toggle_sidebar", "Show or hide the conversations", "Conversations", "ctrl+b,f2", slash="sidebar"),
    Action("find_conversation", "Find a conversation", "Conversations", "ctrl+t,f3", slash="find", argument="[TEXT]"),
    Action("rename", "Rename the conversation", "Conversations", "f4", slash="rename", argument="[TITLE]"),
    Action("pin", "Pin or unpin the conversation", "Conversations", "alt+p", slash="pin"),
    Action("archive", "Archive or un-archive the conversation", "Conversations", "alt+a", slash="archive"),
    Action("toggle_archived", "Show the archived conversations, or not", "Conversations", "", slash="archived"),
    Action("delete_conversation", "Delete the conversation", "Conversations", "", slash="remove"),
    Action("choose_persona", "Choose the persona", "Chat", "", slash="persona", argument="[NAME]"),
    Action("choose_theme", "Choose the theme", "Chat", "", slash="theme", argument="[NAME]"),
    Action("show_palette", "Command palette", "Chat", "ctrl+p"),
    Action("show_help", "Help: every key and command", "Chat", "f1", slash="help"),
    Action("retry", "Try again what failed", "Chat", "f5", slash="retry"),
    Action("quit", "Leave", "Chat", "ctrl+q", slash="quit"),
)

BY_NAME: Mapping[str, Action] = {action.name: action for action in ACTIONS}
BY_SLASH: Mapping[str, Action] = {action.slash: action for action in ACTIONS if action.slash}

_MODIFIERS = frozenset({"ctrl", "alt", "shift", "super", "hyper", "meta"})
_SHOWN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "escape": "esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "plus": "+",
    "minus": "−",
}


def resolve_keys(remapped: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The keys of each action after the user's own, and what was wrong with those, in sentences.

    A name or key that does not exist is passed over; of two actions that want one key, the user's own choice wins.
    """
    problems: list[str] = []
    chosen: dict[str, str] = {}
    for name, keys in remapped.items():
        cleaned = [key.strip().lower() for key in keys.split(",") if key.strip()]
        shown = printable_line(name, 40)
        if name not in BY_NAME:
            problems.append(f"terminal.keys: there is no action “{shown}”; the help screen lists them.")
        elif wrong := [key for key in cleaned if not is_key(key)]:
            problems.append(
                f"terminal.keys.{shown}: “{printable_line(wrong[0], 40)}” is no key; write it as ctrl+g or f5."
            )
        else:
            chosen[name] = ",".join(cleaned)
    owners: dict[str, str] = {}
    for name, keys in chosen.items():
        for key in keys.split(","):
            if key and key in owners:
                problems.append(f"terminal.keys: {key} is given to {owners[key]} and {name}; {owners[key]} keeps it.")
            elif key:
                owners[key] = name
    resolved: dict[str, str] = {}
    for action in ACTIONS:
        wanted = chosen.get(action.name, action.keys).split(",")
        resolved[action.name] = ",".join(key for key in wanted if owners.get(key, action.name) == action.name)
    return resolved, problems


def is_key(key: str) -> bool:
    """Whether Textual could ever report a key of this name."""
    from textual.keys import Keys

    *modifiers, name = key.split("+")
    if not all(modifier in _MODIFIERS for modifier in modifiers):
        return False
    return len(name) == 1 or name in {member.value for member in Keys} or name.replace("_", "").isalpha()


def show_letter(key: str) -> str:
    """The key of a selected message as a reader knows it: `+`, `r`, `←`."""
    return _SHOWN.get(key, key.capitalize() if len(key) > 1 else key)


def show_keys(keys: str) -> str:
    """`ctrl+r,f5` as a reader knows it: `Ctrl+R, F5`."""
    shown = []
    for key in filter(None, keys.split(",")):
        parts = [_SHOWN.get(part, part) for part in key.split("+")]
        shown.append("+".join(part[:1].upper() + part[1:] if len(part) > 1 else part.upper() for part in parts))
    return ", ".join(shown)
