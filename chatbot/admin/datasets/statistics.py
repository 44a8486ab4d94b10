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
    "latin": "latin",
}
_MOST = 2000  # characters looked at
_DENSE = 3  # a sign of these scripts says as much as so many letters
_KANA_SHARE = 0.1  # of Japanese text more is kana


def find_language(text: str) -> str:
    """By script alone: zh, ja, ko, ru (any Cyrillic), …; `latin` for all that is written in Latin letters; `other` for
    what has no letters. Cheap, and enough to see that a dataset is not what it was meant to be."""
    counts = {script: len(pattern.findall(text[:_MOST])) for script, pattern in _PATTERNS.items()}
    if counts["kana"] > _KANA_SHARE * (counts["kana"] + counts["han"]):
        counts["kana"], counts["han"] = counts["kana"] + counts["han"], 0
    for script in ("kana", "hangul", "han"):
        counts[script] *= _DENSE
    script = max(counts, key=lambda name: counts[name])
    return _NAMES[script] if counts[script] else "other"


def describe_items(items: Mapping[Split, Sequence[tuple[Item, int, int]]]) -> dict[str, Any]:
    """The figures of items with the tokens of their longest row and those learnt, by split."""
    everything = [entry for split in SPLITS for entry in items[split]]
    languages: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    replies: Counter[str] = Counter()
    for split in SPLITS:
        for item, _, _ in items[split]:
            texts = read_replies(item)
            languages[find_language("\n".join(texts))] += 1
            sources[item.source] += 1
            replies[split] += len(texts)
    return {
        "items": {split: len(items[split]) for split in SPLITS},
        "groups": {split: len({item.group for item, _, _ in items[split]}) for split in SPLITS},
        "replies": {split: replies[split] for split in SPLITS},
        "conversations": len({item.conversation for item, _, _ in everything if item.conversation}),
        "languages": dict(languages.most_common()),
        "sources": dict(sorted(sources.items())),
        "tokens": describe_lengths([tokens for _, tokens, _ in everything]),
        "learnt_tokens": sum(learnt for _, _, learnt in items["train"]),
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
