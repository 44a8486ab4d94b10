"""Keys, tokens and passwords in text.

Three signs tell them: a prefix that the issuer gave them so that they can be found (`ghp_`, `AKIA`, …), a place where a
secret stands (`password=`, `Authorization: Bearer`, `user:password@` in a URL, "my password is"), or a random-looking
word close to "token" or "secret key". Randomness alone is no sign: hashes, UUIDs and image data look the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from chatbot.logs.findings import UNSPACED, Span

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:(?!-----)[\s\S])++-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|(?:\s*[A-Za-z0-9+/=]{40,})+)"
)

# Prefixes as their issuers document them, most of them for GitHub's secret scanning.
_PREFIXED = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
      sk-(?:proj-|svcacct-|admin-|ant-[a-z0-9]{1,10}-|or-v1-|lf-)?[A-Za-z0-9_-]{20,}+  # OpenAI and who copied it
    | gh[pousr]_[A-Za-z0-9]{36,}+ | github_pat_[A-Za-z0-9_]{36,}+ | gl(?:pat|dt|rt|cbt|ptt|soat)-[A-Za-z0-9_.-]{20,}+
    | xox[abeoprs]-[A-Za-z0-9-]{10,}+ | xapp-[A-Za-z0-9-]{20,}+
    | (?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?![A-Za-z0-9])
    | AIza[A-Za-z0-9_-]{35} | ya29\.[A-Za-z0-9_-]{20,}+ | GOCSPX-[A-Za-z0-9_-]{20,}+
    | (?:hf|api_org)_[A-Za-z]{34}(?![A-Za-z0-9_]) | npm_[A-Za-z0-9]{36}(?![A-Za-z0-9_]) | pypi-AgE[A-Za-z0-9_-]{30,}+
    | SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}
    | [srp]k_(?:live|test)_[A-Za-z0-9]{16,}+ | whsec_[A-Za-z0-9+/=]{24,}+ | rzp_live_[A-Za-z0-9]{14}
    | \d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])  # Telegram
    | dop_v1_[a-f0-9]{64} | shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32} | gsk_[A-Za-z0-9]{40,}+ | xai-[A-Za-z0-9]{40,}+
    | r8_[A-Za-z0-9]{37} | pplx-[A-Za-z0-9]{40,}+ | nvapi-[A-Za-z0-9_-]{40,}+ | tvly-[A-Za-z0-9-]{20,}+
    | dckr_pat_[A-Za-z0-9_-]{20,}+ | AGE-SECRET-KEY-1[A-Z0-9]{50,}+ | key-[a-f0-9]{32}(?![A-Za-z0-9]) | SK[a-f0-9]{32}(?![A-Za-z0-9])
    | eyJ[A-Za-z0-9_-]{8,}+\.eyJ[A-Za-z0-9_-]{4,}+\.[A-Za-z0-9_-]*+  # JWT
    )""",
    re.VERBOSE,
)
_WEBHOOK = re.compile(r"(?<=hooks\.slack\.com/services/)[A-Za-z0-9/]{20,100}")

_BEARER = re.compile(
    r"(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)?\b(?:bearer|basic)\s{1,3}([A-Za-z0-9._~+/=-]{8,}+)", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=://)([^\s/:@<>\"'`]{0,100}):([^\s/@<>\"'`]{1,200})@(?=[\w\[])")

_NOT_IN_VALUE = rf"\s\"'`<>,;&|(){{}}\[\]“”„«»‘’。、！？→{UNSPACED}"
_PASSWORD = r"pass(?:word|wd|phrase|wort|code)|kennwort|mot\s?de\s?passe|contraseña|pwd|密码|密碼|口令"
_TOKEN = (
    r"(?:api|access|secret|private|auth|account|encryption|signing|master|service)[_ -]?keys?|"
    r"(?:auth|access|refresh|bearer|api|session)?[_ -]?token|(?:client|app|shared|api)?[_ -]?secret|credentials?|apikey|"
    r"zugangsschlüssel|geheimschlüssel|jeton|密钥|密鑰|令牌"
)
_ASSIGNED = re.compile(
    rf"((?:{_PASSWORD})|{_TOKEN})(?![A-Za-z_])[\"'`]?(\s{{0,3}}(?:=>|:=|=|:)\s{{0,3}}|为|是)"
    rf"(?:(?P<quote>[\"'`])(?P<quoted>[^\n\"'`]{{1,300}})(?P=quote)|(?P<bare>[^{_NOT_IN_VALUE}]{{4,300}}))",
    re.IGNORECASE,
)
_SAID = re.compile(
    rf"(?:(?:{_PASSWORD})|\bPIN|{_TOKEN})(?:\s(?:is|was|lautet|ist|est|es)\s?:?\s|\s?(?:是|为)\s?:?\s?)"
    rf"(?P<quote>[\"'`“„«]?\s?)(?P<bare>[^{_NOT_IN_VALUE}]{{4,200}})",
    re.IGNORECASE,
)
_NEAR = re.compile(rf"(?:(?:{_PASSWORD})|{_TOKEN})(?![A-Za-z_])", re.IGNORECASE)
_RANDOM = re.compile(r"(?<![A-Za-z0-9_+/=.-])[A-Za-z0-9_+/=-]{20,200}(?![A-Za-z0-9_+/=-])")
_HASH_WORD = re.compile(r"sha-?\d|md5|hash|digest|checksum|commit|uuid", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_STAND_IN = re.compile(
    r"[x*•.…_-]{3,}|<.*>|[$%{\[].*|(?:your|my|the|insert|enter|replace|put|change)[ _-]?.*|example.*|sample.*|dummy.*|"
    r"change-?me.*|none|null|nil|true|false|todo|redacted|hidden|secret\w?|passw(?:or)?[dt]\d?|pass|passwort|token|key|"
    r"str(?:ing)?|text|undefined|required|optional|test|admin|root|user(?:name)?|foo|bar|abc|sha\d+|utf-?8|base64",
    re.IGNORECASE,
)
_FILLER = re.compile(r"(.)\1{4,}|x{4,}|\.\.\.|placeholder|your[_-]|[_-]here\b|<|>", re.IGNORECASE)
_DESCRIPTION = re.compile(
    r"-(?:encoded|hashed|protected|encrypted|based|sensitive|only|bits?|characters?)$", re.IGNORECASE
)
_PLACE = re.compile(r"\.{0,2}/|~/|https?:|[A-Za-z]:\\")


def find_secrets(text: str) -> Iterator[Span]:
    """The values alone: of `password=abc1234` the name and the sign stay."""
    for match in _KEY_BLOCK.finditer(text):
        yield match.span()
    for match in _PREFIXED.finditer(text):
        if _has_randomness(match.group()):
            yield match.span()
    for match in _WEBHOOK.finditer(text):
        yield match.span()
    for match in _BEARER.finditer(text):
        value = match.group(2)
        if not _is_stand_in(value) and (match.group(1) or len(value) >= 16) and re.search(r"\d", value):
            yield match.span(2)
    for match in _USERINFO.finditer(text):
        if not _is_stand_in(match.group(2)):
            yield match.start(1), match.end(2)
    for match in _ASSIGNED.finditer(text):
        if match.group("quoted") is not None:
            if _is_quoted_secret(match.group("quoted"), match.group(1)):
                yield match.span("quoted")
        else:
            yield from _find_bare(text, match)
    for match in _SAID.finditer(text):
        yield from _find_bare(text, match)
    yield from _find_near_word(text)


def _is_stand_in(value: str) -> bool:
    return bool(_STAND_IN.fullmatch(value) or _FILLER.search(value))


def _has_randomness(token: str) -> bool:
    """Issuers draw keys at random: they mix digits or both cases, where a name in code is words."""
    body = token[4:]
    mixed = bool(re.search(r"\d", body)) or (
        re.search("[a-z]", body) is not None and re.search("[A-Z]", body) is not None
    )
    return mixed and not _FILLER.search(token)


def _is_password(name: str) -> bool:
    return bool(re.fullmatch(_PASSWORD, name, re.IGNORECASE))


def _is_quoted_secret(value: str, name: str) -> bool:
    if _is_stand_in(value.strip()) or len(value.strip()) < 4 or not re.search(r"\w", value) or _PLACE.match(value):
        return False
    if _is_password(name):
        return True
    return " " not in value and len(value) >= 8 and (bool(re.search(r"\d", value)) or _entropy(value) >= 3.9)


def _find_bare(text: str, match: re.Match[str]) -> Iterator[Span]:
    """The value of a match, unless it is a word of prose, a call, a path or a stand-in."""
    start = match.start("bare")
    value = match.group("bare").rstrip(".:").removesuffix("**")
    after = text[start + len(value) : start + len(value) + 1]
    if after and after in "([{" or _is_stand_in(value) or _PLACE.match(value) or _DESCRIPTION.search(value):
        return
    name = text[match.start() : match.start("bare")]
    digits, letters = bool(re.search(r"\d", value)), bool(re.search(r"[^\W\d_]", value))
    word = re.split(r"[\s=:\"'是为]", name)[0]
    if digits and letters and len(value) >= 6:
        yield start, start + len(value)
    elif digits and value.isdigit() and (_is_password(word) or word.upper() == "PIN"):
        yield start, start + len(value)
    elif len(value) >= 8 and word.isupper() and word.isascii() and name.endswith("="):
        yield start, start + len(value)  # DB_PASSWORD=… in a file of settings


def _find_near_word(text: str) -> Iterator[Span]:
    for word in _NEAR.finditer(text):
        value = _RANDOM.search(text, word.end(), word.end() + 224)
        if not value or value.start() - word.end() > 24:
            continue
        between = text[word.end() : value.start()]
        token = value.group()
        if "\n" in between or _HASH_WORD.search(between) or _UUID.fullmatch(token) or _is_stand_in(token):
            continue
        if re.search(r"\d", token) and re.search("[A-Za-z]", token) and _entropy(token) >= 3.2:
            yield value.span()


def _entropy(token: str) -> float:
    """Shannon's, in bits for each character: 3.6 or so for 40 random hexadecimal digits, under 3 for most words."""
    return -sum(count / len(token) * math.log2(count / len(token)) for count in Counter(token).values())
