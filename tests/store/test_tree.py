"""The tree of messages against a model of a dozen lines: random histories must leave the same on the screen."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chatbot.errors import InvalidInput, NotFound
from chatbot.store.database import Store
from chatbot.store.records import Message
from chatbot.store.replies import NewConversation


@dataclass
class Node:
    id: str
    role: str
    parent: Node | None
    children: list[Node] = field(default_factory=list)
    hidden: bool = False

    def path(self) -> list[Node]:
        return [*(self.parent.path() if self.parent else []), self]

    def below(self) -> list[Node]:
        return [self, *(node for child in self.children for node in child.below())]

    def newest(self) -> Node:
        return max((node for node in self.below() if not node.hidden), key=lambda node: node.id)


class TreeMachine(RuleBasedStateMachine):
    """`nodes` and `tip` are the model; `store` is the real thing."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Store.in_memory()
        self.version = self.store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
        first = self.store.replies.add_prompt(NewConversation("t", "default", ""), "first")
        self.conversation = first.conversation_id
        self.nodes: dict[str, Node] = {}
        self.roots: list[Node] = []
        self.deleted: list[tuple[str, ...]] = []
        self.tip = self.add(first, None)

    def add(self, message: Message, parent: Node | None) -> Node:
        node = self.nodes[message.id] = Node(message.id, message.role, parent)
        (parent.children if parent else self.roots).append(node)
        return node

    def pick(self, number: int) -> Node:
        shown = [node for node in self.tip.path() if not node.hidden]
        return shown[number % len(shown)]

    def shown(self) -> bool:
        return any(not node.hidden for node in self.tip.path())

    def write_reply(self, parent: Node) -> None:
        reply = self.store.replies.new_id()
        self.store.replies.start(reply, parent.id, self.version, "", {})
        self.tip = self.add(self.store.replies.finish(reply, "reply", "complete", "stop", {}), parent)

    @rule()
    def say(self) -> None:
        self.tip = self.add(self.store.replies.add_prompt(self.conversation, "said"), self.tip)

    @precondition(lambda self: self.tip.role == "user" and not self.tip.hidden)
    @rule()
    def answer(self) -> None:
        self.write_reply(self.tip)

    @precondition(lambda self: self.shown())
    @rule(number=st.integers(0, 30))
    def regenerate(self, number: int) -> None:
        node = self.pick(number)
        if node.role == "assistant" and node.parent and not node.parent.hidden:
            self.write_reply(node.parent)

    @precondition(lambda self: self.shown())
    @rule(number=st.integers(0, 30))
    def edit(self, number: int) -> None:
        node = self.pick(number)
        if node.role == "user":
            self.tip = self.add(self.store.replies.add_edited(node.id, "edited"), node.parent)
        else:
            with pytest.raises(InvalidInput):
                self.store.replies.add_edited(node.id, "edited")

    @precondition(lambda self: self.shown())
    @rule(number=st.integers(0, 30), step=st.sampled_from([-2, -1, 1, 2]))
    def choose(self, number: int, step: int) -> None:
        node = self.pick(number)
        siblings = [child for child in (node.parent.children if node.parent else self.roots) if not child.hidden]
        place = min(max(siblings.index(node) + step, 0), len(siblings) - 1)
        if siblings[place] is not node:
            self.tip = siblings[place].newest()
        assert self.store.tree.choose_sibling(node.id, step).tip == self.tip.id

    @precondition(lambda self: self.shown())
    @rule(number=st.integers(0, 30))
    def delete(self, number: int) -> None:
        node = self.pick(number)
        user = node.parent if node.role == "assistant" and node.parent else node
        replies = [child for child in user.children if child.role == "assistant"]
        gone = [item for item in (user, *replies) if not item.hidden]
        ids = self.store.tree.delete_turn(node.id)
        assert list(ids) == [item.id for item in gone]
        for item in gone:
            item.hidden = True
        self.deleted.append(ids)

    @precondition(lambda self: self.deleted)
    @rule(number=st.integers(0, 30))
    def restore(self, number: int) -> None:
        ids = self.deleted.pop(number % len(self.deleted))
        self.store.tree.restore_turn(ids)
        nodes = [self.nodes[identifier] for identifier in ids]
        for node in nodes:
            node.hidden = False
        if not any(node in self.tip.path() for node in nodes):
            self.tip = nodes[-1].newest()

    @precondition(lambda self: self.shown())
    @rule(number=st.integers(0, 30))
    def drop(self, number: int) -> None:
        node = self.pick(number)
        if node.role != "assistant" or any(not item.hidden for item in node.below()[1:]):
            with pytest.raises(InvalidInput):
                self.store.tree.drop(node.id)
            return
        self.store.tree.drop(node.id)
        node.hidden = True
        assert node.parent is not None
        others = [child for child in node.parent.children if child.role == "assistant" and not child.hidden]
        self.tip = others[-1].newest() if others else node.parent

    @invariant()
    def the_screen_shows_the_branch(self) -> None:
        shown = [node for node in self.tip.path() if not node.hidden]
        transcript = self.store.messages.transcript(self.conversation, limit=1000)
        assert [message.id for message in transcript] == [node.id for node in shown]
        for message in transcript:
            parent = self.nodes[message.id].parent
            siblings = [node.id for node in (parent.children if parent else self.roots) if not node.hidden]
            assert (message.sibling, message.siblings) == (siblings.index(message.id) + 1, len(siblings))

    @invariant()
    def any_part_can_be_read(self) -> None:
        whole = self.store.messages.transcript(self.conversation, limit=1000)
        if len(whole) > 2:
            above = self.store.messages.transcript(self.conversation, before=whole[2].id, limit=1)
            assert above == whole[1:2]
            assert list(self.store.messages.ancestors(whole[-1].id))[::-1][0].id == whole[0].id
            assert self.store.messages.count_branch(whole[-1].id) == len(whole)

    def teardown(self) -> None:
        assert self.store.verify() == []
        assert self.store.conversations.get(self.conversation).tip == self.tip.id
        self.store.close()


TreeMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestTree = TreeMachine.TestCase


def test_a_branch_longer_than_a_page_is_read_whole_and_in_parts() -> None:
    with Store.in_memory() as store:
        first = store.replies.add_prompt(NewConversation("t", "default", ""), "0")
        ids = [first.id]
        ids += [store.replies.add_prompt(first.conversation_id, str(number)).id for number in range(1, 200)]
        assert [message.id for message in store.messages.ancestors(ids[-1])] == ids[::-1]
        read: list[str] = []
        while page := store.messages.transcript(first.conversation_id, before=read[0] if read else None, limit=33):
            read = [message.id for message in page] + read
        assert read == ids


def test_what_does_not_exist_is_named() -> None:
    with Store.in_memory() as store:
        with pytest.raises(NotFound, match="no message 'nothing'"):
            store.messages.get("nothing")
        with pytest.raises(NotFound, match="no conversation 'nothing'"):
            store.messages.transcript("nothing")
        with pytest.raises(NotFound):
            store.tree.restore_turn(["nothing"])


def test_a_reply_that_streams_is_neither_dropped_nor_deleted() -> None:
    with Store.in_memory() as store:
        user = store.replies.add_prompt(NewConversation("t", "default", ""), "hello")
        version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
        reply = store.replies.start(store.replies.new_id(), user.id, version, "", {})
        for change in (store.tree.drop, store.tree.delete_turn):
            with pytest.raises(InvalidInput, match="still being written"):
                change(reply.id)


def test_a_clock_that_was_set_back_hides_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.in_memory()
    first = store.replies.add_prompt(NewConversation("t", "default", ""), "q1")
    version = store.model_versions.find_or_add_base("m", sha256="", template_sha="", path="")
    replies = []
    for _ in range(2):
        reply = store.replies.start(store.replies.new_id(), first.id, version, "", {})
        replies.append(store.replies.finish(reply.id, "r", "complete", "stop", {}))
    earlier = "00000000-0000-7000-8000-000000000001"
    monkeypatch.setattr(store.replies._identifiers, "next", lambda: earlier)
    later = store.replies.add_prompt(first.conversation_id, "q2")
    assert later.id == earlier < replies[1].id
    store.tree.choose_sibling(replies[1].id, -1)
    assert store.tree.choose_sibling(replies[0].id, 1).tip == later.id
    store.close()


def test_what_is_said_in_a_deleted_conversation_brings_it_back() -> None:
    store = Store.in_memory()
    said = store.replies.add_prompt(NewConversation("t", "default", ""), "q1")
    store.conversations.change(said.conversation_id, deleted=True)
    assert store.conversations.latest() is None
    store.replies.add_prompt(said.conversation_id, "q2")
    latest = store.conversations.latest()
    assert latest is not None
    assert latest.id == said.conversation_id
    store.close()
