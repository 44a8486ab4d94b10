"""Secrets that only the word before them tells: `password=…`, `"api_key": "…"`, "my password is …", "token …".

Most such places hold no secret: code hands variables on, manuals show stand-ins, prose says that a password is wrong.
So a value counts if it is quoted beside a word for passwords, or has both letters and digits, or looks random. A
password of letters only, in prose, is not found.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from chatbot.logs.findings import UNSPACED, Span, lower

_PASSWORDS = (
    *("password", "passwd", "passphrase", "passwort", "passcode", "kennwort", "mot de passe", "contraseña", "pwd"),
    *("密码", "密碼", "口令", "パスワード"),
)
_TOKENS = ("token", "secret", "credential", "credentials", "jeton", "zugangsschlüssel", "密钥", "密鑰", "令牌")
_KEY_BEFORE = re.compile(r"(?:api|access|secret|private|auth|account|encryption|signing|master|service)[_ -]?$")
_PIN = "pin"

# What cannot be part of a value that has no quotes: brackets, quotes and stops of prose, letters of unspaced scripts.
_OUTSIDE = rf"\s\"'`<>,;&|(){{}}\[\]“”„«»‘’。、！？→{UNSPACED}"
_ASSIGNED = re.compile(
    rf"[\"'`]?(?P<sign>\s{{0,3}}(?:=>|:=|=|:)\s{{0,3}}|[为是])"
    rf"(?:(?P<quote>[\"'`])(?P<quoted>[^\n\"'`]{{1,300}})(?P=quote)|(?P<bare>[^{_OUTSIDE}]{{4,300}}))"
)
_SAID = re.compile(
    rf"(?:\s(?:is|was|lautet|ist|est|es)\s?:?\s|\s?(?:是|为|は)\s?:?\s?)[\"'`“„«]?\s?(?P<bare>[^{_OUTSIDE}]{{4,200}})"
)
_RANDOM = re.compile(r"(?<![A-Za-z0-9_+/=.-])[A-Za-z0-9_+/-]{20,200}={0,2}(?![A-Za-z0-9_+/=-])")
_WORDS = re.compile(r"(?:^|[_-])[a-z]{3,}(?=[_-]).*?[_-][A-Za-z]{3,}(?:$|[_-])")
_NEAR = 24
_HASH = re.compile(r"sha-?\d|md5|hash|digest|checksum|commit|uuid", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

_STAND_IN = re.compile(
    r"[x*•.…_-]{3,}|<.*>|\$[{(]?[A-Z_][A-Z0-9_]*[)}]?|\$[{(]?[a-z_.]+[)}]?|\$[{(_].*|%[({a-z].{0,30}|[{\[].*|"
    r"(?:your|my|the|insert|enter|replace|put|change)(?:[ _-].*|me|this|[A-Z][a-z]+)*|example.*|sample.*|dummy.*|"
    r"none|null|nil|true|false|todo|redacted|hidden|secret\w?|passw(?:or)?[dt]\d?|pass|pwd?|passwort|token|key|"
    r"str(?:ing)?|text|undefined|required|optional|test|admin|root|user(?:name)?|foo|bar|abc|sha\d+|utf-?8|base64",
    re.IGNORECASE,
)
_FILLER = re.compile(r"(.)\1{4,}|x{4,}|\.\.\.|placeholder|your[_-]|[_-]here\b|<|>", re.IGNORECASE)
_DESCRIPTION = re.compile(
    r"-(?:encoded|hashed|protected|encrypted|based|sensitive|only|bits?|characters?)$", re.IGNORECASE
)
_PATH = re.compile(r"\.{0,2}/|~/|https?:|[A-Za-z]:\\")


def is_stand_in(value: str) -> bool:
    """Whether `value` only shows where a secret goes: `<YOUR_TOKEN>`, `$TOKEN`, `xxxx`, `changeme`."""
    return bool(_STAND_IN.fullmatch(value) or _FILLER.search(value))


def find_beside_words(text: str) -> Iterator[Span]:
    read = (0, 0)  # the value read last: a word inside it starts no other, or `token=token=…` would be read once a word
    for start, end, is_password in _find_words(text):
        if read[0] <= start < read[1]:
            continue
        assigned = _ASSIGNED.match(text, end)
        if assigned and assigned.group("quoted") is not None:
            if _is_quoted_secret(assigned.group("quoted"), is_password):
                yield assigned.span("quoted")
        elif assigned:
            read = assigned.span("bare")
            in_settings = assigned.group("sign") == "=" and text[start:end].isascii() and text[start:end].isupper()
            yield from _trim(text, assigned.span("bare"), is_password, in_settings)
        elif said := _SAID.match(text, end):
            yield from _trim(text, said.span("bare"), is_password, False)
        yield from _find_random(text, end)


def _find_words(text: str) -> Iterator[tuple[int, int, bool]]:
    """Where each word stands, and whether it means a password; plain search takes a twentieth of a regex's time."""
    low = lower(text)
    for words, is_password in ((_PASSWORDS, True), (_TOKENS, False), (("key", "keys"), False), ((_PIN,), True)):
        for word in words:
            at = low.find(word)
            while at >= 0:
                end = at + len(word)
                whole = not (word.isascii() and low[end : end + 1].isalpha() and low[end : end + 1].isascii())
                if word.startswith("key"):
                    whole = whole and _KEY_BEFORE.search(low, max(0, at - 12), at) is not None
                elif word == _PIN:
                    whole = whole and not low[at - 1 : at].isalnum()
                if whole and low[end : end + 1] != "_":
                    yield at, end, is_password
                at = low.find(word, end)


def _is_quoted_secret(value: str, is_password: bool) -> bool:
    value = value.strip()
    if is_stand_in(value) or len(value) < 4 or not re.search(r"\w", value) or _PATH.match(value):
        return False
    if is_password:
        return True
    return " " not in value and len(value) >= 8 and (bool(re.search(r"\d", value)) or _entropy(value) >= 3.9)


def _trim(text: str, span: Span, is_password: bool, in_settings: bool) -> Iterator[Span]:
    """The value without the stop behind it, unless it is a word of prose, a call, a path or a stand-in."""
    start = span[0]
    value = text[start : span[1]].rstrip(".:").removesuffix("**")
    after = text[start + len(value) : start + len(value) + 1]
    if (after and after in "([{") or is_stand_in(value) or _PATH.match(value) or _DESCRIPTION.search(value):
        return
    has_digit, has_letter = re.search(r"\d", value), re.search(r"[^\W\d_]", value)
    mixed = has_digit and has_letter and len(value) >= 6
    number = is_password and value.isdigit() and len(value) >= 4
    if mixed or number or (in_settings and len(value) >= 8):  # DB_PASSWORD=wordswords
        yield start, start + len(value)


def _find_random(text: str, end: int) -> Iterator[Span]:
    match = _RANDOM.search(text, end, end + _NEAR + 200)
    if not match or match.start() - end > _NEAR:
        return
    between, token = text[end : match.start()], match.group()
    if "\n" in between or _HASH.search(between) or _UUID.fullmatch(token) or _WORDS.search(token) or is_stand_in(token):
        return
    if re.search(r"\d", token) and re.search("[A-Za-z]", token) and _entropy(token) >= 3.2:
        yield match.span()


def _entropy(token: str) -> float:
    """Shannon's, in bits a character: 3.6 or so for 40 random hexadecimal digits, under 3 for most words."""
    return -sum(count / len(token) * math.log2(count / len(token)) for count in Counter(token).values())
