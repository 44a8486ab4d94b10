"""From texts to a tokenizer: byte-level BPE, or one token for each character.

Byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) begins with the 256 bytes and joins, again and again, the
pair of neighbours that is seen most often. Whatever is written is bytes, so nothing is unknown to it and every text
comes back as it was. Digits stay apart from each other, as in Llama and SmolLM2: 1234 is then always four tokens, where
joined ones would cut a number here so and there so, and make sums hard to learn. Nothing is put before a text, and a
pair that was seen only once is not joined: such a token would be read once in the whole training.

The same texts give the same tokenizer to the byte, however many threads count them; a test holds the library to it.

The tokens of our chat template have the first ids from the start, so that a model that was trained on plain text can
learn to chat later without a change of its vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from chatbot.errors import InvalidInput

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

Kind = Literal["bpe", "characters"]

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
"""Their ids are 0, 1 and 2."""
UNKNOWN = "<|unknown|>"
"""A character that the training never showed; only a vocabulary of characters needs it. Its id is 3."""
SMALLEST = len(SPECIAL) + 256
"""The special tokens and the bytes."""
LARGEST = 1_000_000
_SEEN = 2  # a pair is joined if it was seen at least so often


def check_vocabulary(size: int) -> int:
    """`size` if a byte-level vocabulary can have it. Raises InvalidInput."""
    if not SMALLEST <= size <= LARGEST:
        raise InvalidInput(
            f"A vocabulary of {size:,} tokens cannot be made: the 256 bytes and {len(SPECIAL)} special tokens are in "
            f"every one, so it has {SMALLEST} at least, and {LARGEST:,} at most.",
            hint="8192 suits a corpus of some megabytes.",
        )
    return size


def learn_bpe(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens; fewer, where no pair is left that was seen twice.

    The texts are read once and only their distinct words are kept. Raises InvalidInput.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=check_vocabulary(vocabulary),
        min_frequency=_SEEN,
        special_tokens=_make_special(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def collect_characters(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer that has each character of the texts, by code point after the special tokens.

    It is a BPE without merges: then each character is a token, and the library needs a third of the memory that
    cutting the text by a pattern takes.
    """
    from tokenizers import Tokenizer, decoders, models

    found: set[str] = set()
    for text in texts:
        found.update(text)
    special = (*SPECIAL, UNKNOWN)
    vocabulary = {token: number for number, token in enumerate([*special, *sorted(found)])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=UNKNOWN))
    tokenizer.add_special_tokens(_make_special(special))
    tokenizer.decoder = decoders.Fuse()  # without one, spaces would be put between them
    return tokenizer


def _make_special(tokens: Iterable[str]) -> list[AddedToken]:
    from tokenizers import AddedToken

    return [AddedToken(token, special=True, normalized=False) for token in tokens]
