"""E-mail and IP addresses in text.

Each search starts at what is rare (the @ sign, a row of dots or colons) and looks a bounded way to both sides, so its
time grows with the text and nothing else.

An e-mail address has a domain with an ending that exists: `root@server`, `logo@2x.png`, `lodash@4.17.21` and `git@…`
are none. An IP address is personal where it names one machine: localhost, masks, networks (`10.0.0.0/8`) and 0.x are
left, and so is a version or a section number.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import cache

from chatbot.logs.findings import LETTER, UNSPACED, Span, lower

_AT = re.compile(r"@| ?[\[({] ?(?:at|ät|@) ?[\])}] ?")
# The part before the @, read backwards; in a script without spaces it may take a word too much.
_LOCAL = re.compile(rf"(?:{LETTER}|[+-])(?:(?:{LETTER}|[.%+'’&=*!#$?^{{}}|~/-]){{0,63}}{LETTER})?|[{UNSPACED}]{{1,20}}")
_IN_URL = re.compile(r"://[^\s/@]*$")
_DOT = r"(?:\.| ?[\[({] ?(?:dot|punkt|point) ?[\])}] ?)"
_LABEL = rf"(?:{LETTER}(?:{LETTER}|-){{0,62}}|[{UNSPACED}]{{1,63}})"
_DOMAIN = re.compile(rf"{_LABEL}(?:{_DOT}{_LABEL}){{1,8}}")
_LABELS = re.compile(rf"{_DOT}({_LABEL})")
_PRIVATE_ENDINGS = {"local", "internal", "intranet", "lan", "corp", "test", "example"}

_V4 = re.compile(rf"(?<!{LETTER})(?<![.])(?<![A-Za-z_][/-])(?:\d{{1,3}}\.){{3}}\d{{1,3}}(?!{LETTER}|\.\w|-[A-Za-z])")
_V6 = re.compile(rf"(?<!{LETTER})(?<!\w\[)[0-9A-Fa-f:][0-9A-Fa-f:.]{{2,}}+(?!{LETTER})")
_PREFIX = re.compile(r"/(\d{1,3})(?!\d)")
_NUMBERING = re.compile(
    r"(?:\b(?:version|ver|v|release|build|firmware|driver|update|windows|section|sect?|chapter|clause|article|"
    r"kapitel|abschnitt|ziffer|absatz|chapitre|paragraphe)\.?|§|版本号?|第|章节?|[\w\"']\s?(?:[=><~!]=|\^))\s?[:=]?\s?$",
    re.IGNORECASE,
)


def find_emails(text: str) -> Iterator[Span]:
    """Addresses, also those written `name (at) host (dot) com`."""
    text = lower(text)
    for at in _AT.finditer(text):
        before = text[max(0, at.start() - 64) : at.start()]
        local = _LOCAL.match(before[::-1])
        domain = _DOMAIN.match(text, at.end())
        if not local or not domain or local.group() == "git"[::-1] or _IN_URL.search(before[: -local.end()]):
            continue
        end = _end_of_domain(text, domain.start(), domain.end())
        if end is not None:
            yield at.start() - local.end(), end


def _end_of_domain(text: str, start: int, end: int) -> int | None:
    """Where the last label that is a top-level domain ends: a sentence may go on right after the dot."""
    found = None
    for label in _LABELS.finditer(text, start, end):
        name = label.group(1)
        if re.match(f"[{UNSPACED}]", name):
            for size in range(min(len(name), 6), 0, -1):
                if _is_ending(name[:size]):
                    found = label.start(1) + size
                    break
        elif _is_ending(name):
            found = label.end()
    return found


def _is_ending(label: str) -> bool:
    return label in _endings()


@cache
def _endings() -> frozenset[str]:
    from linkify_it.tlds import TLDS

    known = {ending.lower() for ending in TLDS}
    return frozenset(known | {ending.encode().decode("idna") for ending in known}) | _PRIVATE_ENDINGS


def find_ips(text: str) -> Iterator[Span]:
    """IPv4 and IPv6 addresses of single machines, without port, brackets or prefix length."""
    for match in _V4.finditer(text):
        try:
            v4 = ipaddress.IPv4Address(match.group())
        except ValueError:
            continue
        numbering = _NUMBERING.search(text, max(0, match.start() - 24), match.start())
        if not numbering and _names_a_machine(v4) and not _is_network(match.group(), text, match.end()):
            yield match.span()
    for match in _V6.finditer(text):
        token = match.group()
        start = match.start() + (len(token) - len(token.lstrip(":")) if not token.startswith("::") else 0)
        token = text[start : match.end()].rstrip(".")
        token = token if token.endswith("::") else token.rstrip(":")
        if token.count(":") < 2 or len(token) > 45:
            continue
        try:
            v6 = ipaddress.IPv6Address(token)
        except ValueError:
            continue
        end = start + len(token)
        if _names_a_machine(v6.ipv4_mapped or v6) and not _is_network(token, text, end):
            yield start, end


def _names_a_machine(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    number = int(address)
    if isinstance(address, ipaddress.IPv6Address):
        # Global, private and link-local addresses; the rest is unassigned, and `1::2` or `abc::def` is code.
        return number >> 125 == 0b001 or number >> 121 == 0xFC >> 1 or number >> 118 == 0xFE80 >> 6
    inverted = number ^ 0xFFFFFFFF
    is_mask = inverted & (inverted + 1) == 0
    return not (is_mask or address.is_loopback or number >> 24 == 0)


def _is_network(address: str, text: str, end: int) -> bool:
    """Whether a prefix length follows that makes the address a network's, not a machine's."""
    prefix = _PREFIX.match(text, end)
    if not prefix:
        return False
    try:
        network = ipaddress.ip_network(f"{address}/{prefix.group(1)}")
    except ValueError:  # bits of a machine are set
        return False
    return network.prefixlen < network.max_prefixlen
