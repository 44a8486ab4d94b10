"""What a dataset holds, in figures: languages, lengths, sources, replies learnt."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from chatbot.admin.datasets.items import SPLITS, Item, Split, read_replies

_SCRIPTS = {
    "kana": "\u3041-\u30ff\uff66-\uff9d",
    "hangul": "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    "han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "cyrillic": "\u0400-\u052f",
    "arabic": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff",
    "hebrew": "\u0590-\u05ff",
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
}
_PATTERNS = {script: re.compile(f"[{signs}]") for script, signs in _SCRIPTS.items()}
_NAMES = {
    "kana": "ja",
    "hangul": "ko",
    "han": "zh",
    "cyrillic": "ru",
    "arabic": "ar",
    "hebrew": "he",
    "greek": "el",
    "devanagari": "hi",
    "thai": "th",
    "latin": "unclear",
}
# Words that a text in the language hardly does without, and that the others have few of.
_WORDS = {
    "en": "the of and is are was you your it its that this to what how why who in on for with not can i my be have do",
    "de": "der die das und ist sind war nicht ein eine einen ich du sie wir mit für auf zu von dem den wie was im",
    "fr": "le la les et est sont était un une des du vous nous je tu il elle que qui pour dans avec pas ce au sur",
    "es": "el la los las y es son era un una del que de en por para con no se usted yo tú su qué cómo como lo",
    "it": "il lo la gli è sono era un una della del di che per con non si io tu lei come cosa nel sul",
    "pt": "os é são era um uma da dos das que de em por para com não você eu seu como na ao mais isso foi ou",
    "nl": "de het een en is zijn was niet ik je jij u wij met voor op van naar wat hoe dat die er aan om",
    "pl": "nie jest są się że co jak dla ja ty od czy tak być przez oraz był może jako tym",
    "sv": "och är det en ett som att inte jag du vi med för på av till den har vad hur var om i",
    "tr": "ve bir bu ne için ile de da mi çok ben sen o değil var yok gibi daha en olarak nasıl",
}
_COMMON = {language: frozenset(words.split()) for language, words in _WORDS.items()}
_SIGNS = {"de": "äöüß", "fr": "çœêèà", "es": "ñ¿¡", "pt": "ãõ", "pl": "łąęśżźń", "sv": "å", "tr": "ığş"}
_WORD = re.compile(r"[^\W\d_]+")
_MOST = 2000  # characters looked at
_DENSE = 3  # a sign of these scripts says as much as so many letters
_KANA_SHARE = 0.1  # of Japanese text more is kana


def find_language(text: str) -> str:
    """By script: zh, ja, ko, ru (any Cyrillic), …; of what is written in Latin letters by its commonest words: en, de,
    fr, …, `unclear` if it has none of them; `other` for what has no letters. Cheap, and enough to see that a dataset is
    not what it was meant to be."""
    counts = {script: len(pattern.findall(text[:_MOST])) for script, pattern in _PATTERNS.items()}
    if counts["kana"] > _KANA_SHARE * (counts["kana"] + counts["han"]):
        counts["kana"], counts["han"] = counts["kana"] + counts["han"], 0
    for script in ("kana", "hangul", "han"):
        counts[script] *= _DENSE
    script = max(counts, key=lambda name: counts[name])
    if script == "latin" and counts[script]:
        return _find_latin(text[:_MOST].casefold())
    return _NAMES[script] if counts[script] else "other"


def _find_latin(text: str) -> str:
    words = _WORD.findall(text)
    scores = {language: sum(word in common for word in words) for language, common in _COMMON.items()}
    for language, signs in _SIGNS.items():
        scores[language] += sum(sign in text for sign in signs)
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] else _NAMES["latin"]


def describe_items(items: Mapping[Split, Sequence[tuple[Item, int, int]]]) -> dict[str, Any]:
    """The figures of items with the tokens of their longest row and those learnt, by split."""
    return {
        **describe_content({split: [item for item, _, _ in items[split]] for split in SPLITS}),
        "tokens": describe_lengths([tokens for split in SPLITS for _, tokens, _ in items[split]]),
        "learnt_tokens": sum(learnt for _, _, learnt in items["train"]),
    }


def describe_content(items: Mapping[Split, Sequence[Item]]) -> dict[str, Any]:
    """The figures that need no tokens."""
    languages: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    for split in SPLITS:
        for item in items[split]:
            texts = read_replies(item)
            asked = [turn.content for turn in item.turns if turn.role == "user"]
            languages[find_language("\n".join([*texts, *asked]))] += 1
            sources[item.source] += 1
            replies[split] += len(texts)
    return {
        "items": {split: len(items[split]) for split in SPLITS},
        "groups": {split: len({item.group for item in items[split]}) for split in SPLITS},
        "replies": {split: replies[split] for split in SPLITS},
        "conversations": len({item.conversation for split in SPLITS for item in items[split]} - {""}),
        "languages": dict(languages.most_common()),
        "sources": dict(sorted(sources.items())),
    }


def describe_lengths(lengths: Sequence[int]) -> dict[str, int]:
    """Median, 95th percentile (the nearest rank), longest and sum."""
    ordered = sorted(lengths)
    if not ordered:
        return {"median": 0, "p95": 0, "max": 0, "total": 0}
    return {
        "median": ordered[(len(ordered) - 1) // 2],
        "p95": ordered[-(-len(ordered) * 95 // 100) - 1],
        "max": ordered[-1],
        "total": sum(ordered),
    }
