"""What was said leaves all that was made of it: datasets, what evaluations and runs keep, and corpora."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from chatbot.admin.corpus.forgetting import strike
from chatbot.admin.datasets.forgetting import Forgetting, forget
from chatbot.config import Home
from chatbot.errors import LearningError
from chatbot.store.database import Store


def forget_everywhere(store: Store, home: Home, conversation_ids: Collection[str], texts: Iterable[str]) -> Forgetting:
    """As `datasets.forgetting.forget`, and the documents of the conversations out of every corpus. Each of it is tried
    even if something before has failed."""
    done = forget(store, home, conversation_ids, texts)
    try:
        struck = strike(store, home, conversation_ids)
    except LearningError as error:
        return Forgetting(done.struck, done.failure or error)
    return Forgetting((*done.struck, *struck), done.failure)
