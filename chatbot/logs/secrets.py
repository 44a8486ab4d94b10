"""Keys and tokens in text that give themselves away by their own form or by the protocol around them.

Issuers begin their keys with a prefix so that they can be found (`ghp_`, `AKIA`, …); a private key stands in a block;
a password in a URL stands before the @. Randomness alone is no sign: hashes, UUIDs and image data look the same.
What only a word such as "password" tells is in `secret_words`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatbot.logs.findings import Span
from chatbot.logs.secret_words import find_beside_words, is_stand_in

# A block, or its beginning where the rest was cut off.
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----)[\s\S])++-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|(?:\s*[A-Za-z0-9+/=]{40,})+)"
)

# Prefixes as their issuers document them, most of them for GitHub's secret scanning.
_PREFIXED = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]{1,10}-|or-v1-|lf-)?[A-Za-z0-9_-]{20,}+  # OpenAI, and who copied it
    | gh[pousr]_[A-Za-z0-9]{36,}+ | github_pat_[A-Za-z0-9_]{36,}+ | gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_.-]{20,}+
    | xox[abeoprs]-[A-Za-z0-9-]{10,}+ | xapp-[A-Za-z0-9-]{20,}+
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])  # AWS
    | AIza[A-Za-z0-9_-]{35} | ya29\.[A-Za-z0-9_-]{20,}+ | GOCSPX-[A-Za-z0-9_-]{20,}+  # Google
    | (?:hf|api_org)_[A-Za-z]{34}(?![A-Za-z0-9_]) | npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_]) | pypi-AgE[A-Za-z0-9_-]{30,}+
    | SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64} | key-[a-f0-9]{32}(?![A-Za-z0-9])  # SendGrid, Mailgun
    | [srp]k_(?:live|test)_[A-Za-z0-9]{16,}+ | whsec_[A-Za-z0-9+/=]{24,}+ | rzp_live_[A-Za-z0-9]{14}  # Stripe, Razorpay
    | \d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])  # Telegram
    | dop_v1_[a-f0-9]{64} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32} | SK[a-f0-9]{32}(?![A-Za-z0-9])
    | gsk_[A-Za-z0-9]{40,}+ | xai-[A-Za-z0-9]{40,}+ | r8_[A-Za-z0-9]{37} | pplx-[A-Za-z0-9]{40,}+
    | nvapi-[A-Za-z0-9_-]{40,}+ | tvly-[A-Za-z0-9-]{20,}+ | dckr_pat_[A-Za-z0-9_-]{20,}+
    | AGE-SECRET-KEY-1[A-Z0-9]{50,}+
    | eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+  # JSON Web Token, RFC 7519
    )""",
    re.VERBOSE,
)
_WEBHOOK = re.compile(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,100}")
_BEARER = re.compile(
    r"(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)?\b(?:bearer|basic)\s{1,3}([A-Za-z0-9._~+/=-]{8,}+)", re.IGNORECASE
)
_USER_INFO = re.compile(r"(?<=://)([^\s/:@<>\"'`]{0,100}):([^\s/@<>\"'`]{1,200})@(?=[\w\[])")


def find_secrets(text: str) -> Iterator[Span]:
    """The values alone: of `password=abc1234` the name and the sign stay."""
    for match in _KEY_BLOCK.finditer(text):
        yield match.span()
    for match in _PREFIXED.finditer(text):
        if _is_random(match.group()):
            yield match.span()
    for match in _WEBHOOK.finditer(text):
        yield match.span()
    for match in _BEARER.finditer(text):
        value = match.group(2)
        if not is_stand_in(value) and (match.group(1) or len(value) >= 16) and re.search(r"\d", value):
            yield match.span(2)
    for match in _USER_INFO.finditer(text):
        if not is_stand_in(match.group(2)):
            yield match.start(1), match.end(2)
    yield from find_beside_words(text)


def _is_random(token: str) -> bool:
    """Keys are drawn at random: they mix in digits or both cases, where a name in code is words."""
    body = token[4:]
    both_cases = re.search("[a-z]", body) is not None and re.search("[A-Z]", body) is not None
    return (both_cases or re.search(r"\d", body) is not None) and not is_stand_in(token)
