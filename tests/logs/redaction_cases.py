"""Made-up secrets for the measurement of redaction, each in a sentence of one of four languages.

Written from what a person would want masked, before the code that finds it. Nothing here belongs to anyone: digits and
letters come from a seeded generator, and check digits are computed here, not by the code under test. Two styles of
sentence: prose, and another (chats, logs, tables, code) whose misses nobody looked at while the code was written.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

NAMES = [
    "Anna Schmidt",
    "Jürgen Müller",
    "Mark",
    "Jean-Luc Moreau",
    "Siobhán O'Brien",
    "Élodie Dupont",
    "Ann Lee",
    "Rose",
    "王小明",
    "李娜",
    "欧阳修文",
    "山田太郎",
    "Nguyễn Văn An",
    "María José García",
    "Kowalski",
    "Dr. Priya Raman",
]

ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
NATIONAL = ["US", "GB", "DE", "FR", "CN", "JP", "IN", "AU", "IT", "ES", "NL", "CH", "AT", "BR"]
INTERNATIONAL = [*NATIONAL, "CA", "SE", "PL", "KR", "MX", "ZA", "NG", "TR"]

# Country, then the form of the account part: digits n, capital letters a.
IBAN_FORMS = {
    "DE": "n18",
    "FR": "n23",
    "GB": "a4n14",
    "NL": "a4n10",
    "ES": "n20",
    "IT": "a1n22",
    "CH": "n17",
    "AT": "n16",
    "BE": "n12",
    "PL": "n24",
    "SE": "n20",
    "NO": "n11",
    "DK": "n14",
    "FI": "n14",
    "PT": "n21",
    "IE": "a4n14",
    "CZ": "n20",
    "HU": "n24",
    "LU": "n16",
    "GR": "n23",
}

PROSE = [
    "Please use {} from now on.",
    "I think {} is the right one, but ask again.",
    "You can write down {} for me.",
    "Someone posted {} on the notice board yesterday.",
    "My answer would be: {}",
    "Is it ({}) or something else?",
    "Bitte notiere dir {} für später.",
    "Ich glaube, {} stimmt so.",
    "Das hier, {}, darf niemand sehen.",
    "Im Anhang steht „{}“ ganz unten.",
    "Es geht um {}.",
    "Kannst du {} in den Brief einsetzen?",
    "Merci de noter {} quelque part.",
    "Je crois que {} est correct.",
    "Voici ce qu'il a écrit : {}",
    "On m'a donné « {} » hier soir.",
    "Il s'agit de {}, n'est-ce pas ?",
    "Peux-tu vérifier {} s'il te plaît ?",
    "请记下{}，谢谢。",
    "我写的是{}。",
    "他昨天发给我{}",
    "请把{}填到表格里。",
    "这里有一个：{}，别告诉别人。",
    "应该是“{}”吧？",
]

HELD_OUT = [
    "user: {}\nassistant: noted!",
    "[2024-03-05 14:22:10] INFO received {} from form",
    '{{"value": "{}", "ok": true}}',
    "| field | value |\n|---|---|\n| entry | {} |",
    "- first item\n- {}\n- last item",
    "> {}\n\nis what you wrote",
    "lol ok so its {} right??",
    "<td>{}</td>",
    "entry;{};done",
    "1) {}\n2) tbd",
    "**{}**",
    "thx!!! {} :)",
    "Absender: {}\nBetreff: Termin",
    "moin, hier nochmal {}, lg",
    "Zeile 3\t{}\tOK",
    "Stand heute {} / erledigt",
    "salut, c'est {} voilà",
    "Objet : dossier\n\n{}\n\nCordialement",
    "réponse → {}",
    "Fiche n° 4, {}, à jour",
    "客服：请提供。\n用户：{}",
    "（{}）",
    "备注：{}；已处理",
    "然后呢？{}？对的",
]


@dataclass(frozen=True)
class Case:
    """A sentence and the part of it, from `start` to `end`, that has to be masked as `kind`."""

    text: str
    kind: str
    form: str
    start: int
    end: int


Made = tuple[str, str, str, str]
"""Form, what stands before the secret, the secret, what stands after it."""


def pick(rng: random.Random, letters: str, count: int) -> str:
    return "".join(rng.choice(letters) for _ in range(count))


def make_email(rng: random.Random) -> Made:
    first, last = rng.choice(["lena", "tom", "wei", "marie", "olaf"]), rng.choice(["berg", "chen", "petit", "stone"])
    number = rng.randrange(10, 99)
    form, value = rng.choice(
        [
            ("plain", f"{first}{number}@example.com"),
            ("dots", f"{first}.{last}@mail.example.co.uk"),
            ("plus", f"{first}+news{number}@example.org"),
            ("hyphen", f"{first}-{last}@my-company.de"),
            ("underscore", f"{first}_{last}_{number}@example.fr"),
            ("capitals", f"{first.title()}.{last.upper()}@Example.COM"),
            ("long ending", f"{first}@{last}.photography"),
            ("digits", f"{rng.randrange(10**7, 10**9)}@qq.com"),
            ("apostrophe", f"{first}.o'{last}@example.ie"),
            ("IDN", f"{first}.{last}@müller-söhne.de"),
            ("punycode", f"{first}@xn--mller-kva.example.net"),
            ("unicode", f"jörg.{last}@exämple.eu"),
            ("Chinese domain", f"{first}@例子.中国"),
            ("one letter", f"{first[0]}@{last}.io"),
            ("spelled out", f"{first} (at) {last} (dot) com"),
        ]
    )
    before, after = rng.choice([("", ""), ("", ""), ("", ""), ("<", ">"), ("mailto:", "")])
    return form, before, value, after


def make_phone(rng: random.Random) -> Made:
    style = rng.choice(["E164", "international", "international", "national", "national"])
    region = rng.choice(NATIONAL if style == "national" else INTERNATIONAL)
    while True:
        kind = rng.choice([PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE])
        example = phonenumbers.example_number_for_type(region, kind)
        assert example is not None and example.national_number is not None
        tail = rng.randrange(10**4)
        number = phonenumbers.PhoneNumber(
            country_code=example.country_code,
            national_number=example.national_number // 10**4 * 10**4 + tail,
            italian_leading_zero=example.italian_leading_zero,
        )
        if phonenumbers.is_valid_number(number):
            break
    if style == "E164":
        value = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        if rng.random() < 0.3:
            style, value = "00", "00" + value[1:]
    elif style == "international":
        value = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
        value = value.replace(" ", rng.choice([" ", " ", " ", "-", ".", "\u00a0"]))
    else:
        value = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if region in {"FR", "US", "CN"}:
            value = value.replace(" ", rng.choice([" ", ".", "-"])) if "(" not in value else value
        elif region in {"DE", "AT"}:
            value = value.replace(" ", rng.choice([" ", "/"]), 1)
    return f"{style} {region}", "", value, ""


def check_digits(country: str, account: str) -> str:
    """ISO 13616: letters become 10…35, and the whole, with its start at the end, leaves 1 when divided by 97."""
    digits = "".join(str(int(letter, 36)) for letter in f"{account}{country}00")
    return f"{98 - int(digits) % 97:02}"


def make_account(rng: random.Random, country: str) -> str:
    form, account = IBAN_FORMS[country], ""
    while form:
        kind, size = form[0], "".join(leading_digits(form[1:]))
        account += pick(rng, string.digits if kind == "n" else string.ascii_uppercase, int(size))
        form = form[1 + len(size) :]
    return account


def leading_digits(text: str) -> str:
    return text[: len(text) - len(text.lstrip(string.digits))]


def make_iban(rng: random.Random) -> Made:
    country = rng.choice(list(IBAN_FORMS))
    account = make_account(rng, country)
    value = country + check_digits(country, account) + account
    style = rng.choice(["plain", "spaces", "spaces", "dashes", "small letters"])
    if style == "small letters":
        value = value.lower()
    elif style != "plain":
        value = (" " if style == "spaces" else "-").join(value[at : at + 4] for at in range(0, len(value), 4))
    return f"{country} {style}", "", value, ""


def luhn_digit(digits: str) -> str:
    """ISO/IEC 7812-1: every second digit from the right counts double."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


CARDS = [
    ("Visa", "4", 16),
    ("Mastercard", "53", 16),
    ("Mastercard 2", "2345", 16),
    ("Amex", "37", 15),
    ("Discover", "6011", 16),
    ("JCB", "3540", 16),
    ("Diners", "36", 14),
    ("UnionPay", "6225", 19),
]


def make_card(rng: random.Random) -> Made:
    issuer, prefix, length = rng.choice(CARDS)
    digits = prefix + pick(rng, string.digits, length - 1 - len(prefix))
    digits += luhn_digit(digits)
    separator = rng.choice(["", " ", " ", "-"])
    return f"{issuer} {separator!r}", "", group_card(digits, separator), ""


def group_card(digits: str, separator: str) -> str:
    cuts = [4, 10] if len(digits) < 16 else list(range(4, len(digits), 4))
    return separator.join(digits[start:end] for start, end in zip([0, *cuts], [*cuts, len(digits)], strict=True))


def make_ip(rng: random.Random) -> Made:
    first = rng.choice([23, 84, 91, 172, 192, 203])
    v4 = f"{first}.{rng.randrange(1, 255)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
    network = rng.choice([0x2001_0DB8, 0x2A02_8108, 0x2606_4700]) << 96
    v6 = ipaddress.IPv6Address(network | rng.getrandbits(rng.choice([16, 64, 96])))
    return rng.choice(
        [
            ("v4", "", v4, ""),
            ("v4", "", v4, ""),
            ("v4 port", "", v4, f":{rng.randrange(1000, 60000)}"),
            ("v4 URL", "http://", v4, "/index.html"),
            ("v6", "", str(v6), ""),
            ("v6 long", "", v6.exploded, ""),
            ("v6 capitals", "", str(v6).upper(), ""),
            ("v6 URL", "https://[", str(v6), "]:8443/"),
            ("v6 link-local", "", f"fe80::{rng.getrandbits(16):x}:{rng.getrandbits(15) + 1:x}", ""),
        ]
    )


def make_jwt(rng: random.Random) -> str:
    parts = [
        json.dumps({"alg": "HS256", "typ": "JWT"}),
        json.dumps({"sub": pick(rng, ALNUM, 10)}),
        pick(rng, ALNUM, 32),
    ]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


def make_pem(rng: random.Random) -> str:
    kind = rng.choice(["RSA ", "EC ", "OPENSSH ", ""])
    body = "\n".join(pick(rng, ALNUM + "+/", 64) for _ in range(rng.randrange(3, 8)))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


def make_password(rng: random.Random) -> str:
    word = rng.choice(["Sommer", "tiger", "Blue", "dragon", "Paris"])
    return f"{word}{rng.choice(['', '_', '!', '#'])}{rng.randrange(10, 9999)}{rng.choice(['', '!', '$x', '?q'])}"


SECRETS: list[Callable[[random.Random], Made]] = [
    lambda rng: ("OpenAI", "", "sk-" + pick(rng, ALNUM, 48), ""),
    lambda rng: ("OpenAI project", "", "sk-proj-" + pick(rng, ALNUM + "_-", 119) + "A", ""),
    lambda rng: ("Anthropic", "", "sk-ant-api03-" + pick(rng, ALNUM + "_-", 93) + "AA", ""),
    lambda rng: ("GitHub", "", rng.choice(["ghp_", "gho_", "ghs_"]) + pick(rng, ALNUM, 36), ""),
    lambda rng: ("GitHub fine", "", f"github_pat_{pick(rng, ALNUM, 22)}_{pick(rng, ALNUM, 59)}", ""),
    lambda rng: ("GitLab", "", "glpat-" + pick(rng, ALNUM + "_-", 19) + "x", ""),
    lambda rng: (
        "Slack",
        "",
        f"xoxb-{pick(rng, '123456789', 12)}-{pick(rng, '123456789', 12)}-{pick(rng, ALNUM, 24)}",
        "",
    ),
    lambda rng: ("AWS", "", rng.choice(["AKIA", "ASIA"]) + pick(rng, string.ascii_uppercase + "234567", 16), ""),
    lambda rng: ("AWS secret", "aws_secret_access_key = ", pick(rng, ALNUM + "/+", 40), ""),
    lambda rng: ("Google", "", "AIza" + pick(rng, ALNUM + "_-", 34) + "g", ""),
    lambda rng: ("Hugging Face", "", "hf_" + pick(rng, string.ascii_letters, 34), ""),
    lambda rng: ("npm", "", "npm_" + pick(rng, ALNUM, 36), ""),
    lambda rng: ("PyPI", "", "pypi-AgEIcHlwaS5vcmc" + pick(rng, ALNUM + "_-", 120) + "w", ""),
    lambda rng: ("SendGrid", "", f"SG.{pick(rng, ALNUM, 22)}.{pick(rng, ALNUM + '_-', 42)}k", ""),
    lambda rng: ("Stripe", "", rng.choice(["sk_live_", "rk_live_"]) + pick(rng, ALNUM, 24), ""),
    lambda rng: ("Telegram", "", f"{pick(rng, '123456789', 10)}:AA{pick(rng, ALNUM + '_-', 32)}z", ""),
    lambda rng: ("JWT", "", make_jwt(rng), ""),
    lambda rng: ("PEM", "", make_pem(rng), ""),
    lambda rng: ("bearer", "Authorization: Bearer ", pick(rng, ALNUM + "_-", 30) + "9", ""),
    lambda rng: ("password=", rng.choice(["password=", "passwd: ", "PWD=", "DB_PASSWORD="]), make_password(rng), ""),
    lambda rng: ("api_key JSON", '"api_key": "', pick(rng, ALNUM, 32), '"'),
    lambda rng: ("quoted password", "password = '", "correct horse " + pick(rng, string.ascii_lowercase, 7), "'"),
    lambda rng: ("query token", "https://example.com/cb?token=", pick(rng, ALNUM, 28) + "7", "&lang=en"),
    lambda rng: (
        "URL",
        rng.choice(["https://", "postgresql://", "ftp://"]),
        "admin:" + make_password(rng).replace("#", "").replace("?", ""),
        "@db.example.com/x",
    ),
    lambda rng: (
        "prose password",
        rng.choice(["my password is ", "mein Passwort ist ", "mot de passe : ", "密码是"]),
        make_password(rng),
        "",
    ),
    lambda rng: (
        "key beside its word",
        rng.choice(["the secret key ", "API key: ", "access token ", "令牌："]),
        pick(rng, HEX, 40),
        "",
    ),
]


def make_secret(rng: random.Random) -> Made:
    return rng.choice(SECRETS)(rng)


def make_name(rng: random.Random) -> Made:
    name = rng.choice(NAMES)
    form, value, after = rng.choice(
        [
            ("plain", name, ""),
            ("plain", name, ""),
            ("capitals", name.upper(), ""),
            ("small letters", name.lower(), ""),
            ("more space", name.replace(" ", "  "), ""),
            ("broken line", name.replace(" ", "\n"), ""),
            ("possessive", name, "'s"),
        ]
    )
    return form, "", value, after


KINDS: dict[str, Callable[[random.Random], Made]] = {
    "email": make_email,
    "phone": make_phone,
    "iban": make_iban,
    "card": make_card,
    "ip": make_ip,
    "secret": make_secret,
    "name": make_name,
}


def make_cases(seed: int, templates: list[str], count: int = 500) -> list[Case]:
    """`count` cases, the kinds in turn."""
    rng = random.Random(seed)
    cases = []
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        form, before, value, after = KINDS[kind](rng)
        head, tail = rng.choice(templates).replace("{{", "\x00").replace("}}", "\x01").split("{}")
        head, tail = (part.replace("\x00", "{").replace("\x01", "}") for part in (head, tail))
        start = len(head) + len(before)
        cases.append(Case(head + before + value + after + tail, kind, form, start, start + len(value)))
    return cases
