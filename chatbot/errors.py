"""Every error that a user can meet, as one tree.

ChatbotError
├── ConfigError             a setting cannot be read or does not make sense (the file and line are named)
├── StoreError              the database
│   ├── DatabaseDamaged     SQLite says that the file is not sound
│   ├── DatabaseTooNew      written by a newer version of this program
│   ├── DatabaseBusy        another process held the write lock for too long
│   └── DatabaseUnwritable  no space, no permission, a read-only disk
├── NotFound                no conversation, message or persona of that name
├── ModelError              models on disk and where they come from
│   ├── ModelNotFound       no such model here or in the catalogue
│   ├── ModelDamaged        files are missing or differ from the manifest
│   ├── ModelRefused        pickled weights, remote code, or a kind of model that cannot chat
│   └── SourceUnreachable   none of a model's sources could be reached
├── EngineError             the process that computes replies
│   ├── EngineUnavailable   it cannot be started or reached
│   ├── EngineLost          the connection broke in the middle of a reply
│   ├── RequestRefused      it was reached and said no (a bad parameter, a wrong token)
│   └── OutOfMemory         the weights or the cache do not fit
├── LearningError           datasets, training, evaluation and promotion
│   ├── DatasetDamaged      files are missing or differ from the manifest
│   ├── RunDamaged          a run's folder has no whole checkpoint
│   └── PromotionRefused    the gate says no, or the models cannot be compared
├── InvalidInput            an empty prompt, bytes that are not UTF-8, a file that is not what it should be
└── PromptTooLong           the newest message alone does not fit the model's window

Each error says what happened and where, and `hint` says what to do about it. The command line prints both in one line
and exits with `exit_code`; an exception outside this tree is a bug and keeps its traceback.
"""

from __future__ import annotations


class ChatbotError(Exception):
    """What happened, in one sentence; `hint` is what the user can do, in another."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(ChatbotError):
    exit_code = 3


class StoreError(ChatbotError):
    exit_code = 4


class DatabaseDamaged(StoreError):
    pass


class DatabaseTooNew(StoreError):
    pass


class DatabaseBusy(StoreError):
    pass


class DatabaseUnwritable(StoreError):
    pass


class NotFound(ChatbotError):
    exit_code = 5


class ModelError(ChatbotError):
    exit_code = 6


class ModelNotFound(ModelError):
    pass


class ModelDamaged(ModelError):
    pass


class ModelRefused(ModelError):
    pass


class SourceUnreachable(ModelError):
    pass


class EngineError(ChatbotError):
    exit_code = 7


class EngineUnavailable(EngineError):
    pass


class EngineLost(EngineError):
    pass


class RequestRefused(EngineError):
    """`code` tells reasons apart, in the OpenAI protocol's words, such as context_length_exceeded."""

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class OutOfMemory(EngineError):
    pass


class LearningError(ChatbotError):
    exit_code = 9


class DatasetDamaged(LearningError):
    pass


class RunDamaged(LearningError):
    pass


class PromotionRefused(LearningError):
    pass


class InvalidInput(ChatbotError):
    exit_code = 8


class PromptTooLong(ChatbotError):
    exit_code = 8
