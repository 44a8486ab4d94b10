"""Look-alikes for the measurement of redaction: what resembles a secret and has to stay.

Numbers of other kinds, hashes, code, placeholders, wrong check digits, names inside words. Written before the code that
must leave them alone; check digits are made wrong here.
"""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from tests.logs.redaction_cases import (
    ALNUM,
    CARDS,
    HEX,
    IBAN_FORMS,
    check_digits,
    group_card,
    luhn_digit,
    make_account,
    pick,
)


@dataclass(frozen=True)
class LookAlike:
    text: str
    form: str


def make_wrong_iban(rng: random.Random) -> str:
    country = rng.choice(list(IBAN_FORMS))
    account = make_account(rng, country)
    wrong = (int(check_digits(country, account)) + rng.randrange(1, 90)) % 97
    value = f"{country}{wrong:02}{account}"
    return rng.choice([value, " ".join(value[at : at + 4] for at in range(0, len(value), 4))])


def make_wrong_card(rng: random.Random) -> str:
    _, prefix, length = rng.choice(CARDS)
    digits = prefix + pick(rng, string.digits, length - 1 - len(prefix))
    digits += str((int(luhn_digit(digits)) + rng.randrange(1, 10)) % 10)
    return group_card(digits, rng.choice(["", " ", "-"]))


def make_isbn(rng: random.Random) -> str:
    digits = "978" + rng.choice("0123") + pick(rng, string.digits, 8)
    digits += str(-sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10)
    return rng.choice([digits, f"{digits[:3]}-{digits[3]}-{digits[4:8]}-{digits[8:12]}-{digits[12]}"])


def make_ean(rng: random.Random) -> str:
    digits = rng.choice(["400", "405", "690", "505"]) + pick(rng, string.digits, 9)
    return digits + str(-sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10)


def make_date(rng: random.Random) -> str:
    year, month, day = rng.randrange(1900, 2030), rng.randrange(1, 13), rng.randrange(1, 29)
    return rng.choice(
        [
            f"{year}-{month:02}-{day:02}",
            f"{day:02}.{month:02}.{year}",
            f"{month:02}/{day:02}/{year}",
            f"{year}年{month}月{day}日",
            f"{year}{month:02}{day:02}",
            f"{year}-{month:02}-{day:02}T{day:02}:30:{month:02}Z",
            f"{day:02} {month:02} {year}",
            f"{year}-{month:02}-{day:02} 14:{day:02}:59.123456",
        ]
    )


def make_number(rng: random.Random) -> str:
    whole = rng.randrange(10**6, 10**10)
    return rng.choice(
        [
            f"{whole:,}",
            f"{whole:,}".replace(",", "."),
            f"{whole:,}".replace(",", " "),
            f"{whole}",
            f"{whole:,}.{whole % 90 + 10}",
            f"{rng.random():.12f}",
            f"{rng.randrange(10**14, 10**15)}",
            f"-{whole / 1000:.3f}",
            f"2^64 = {2**64}",
            f"{whole:.6e}",
        ]
    )


def make_price(rng: random.Random) -> str:
    whole = rng.randrange(100, 10**7)
    return rng.choice(
        [
            f"${whole:,}.99",
            f"{whole:,}".replace(",", ".") + ",50 €",
            f"¥{whole}",
            f"€ {whole}.00",
            f"{whole} USD",
            f"{whole:,}".replace(",", " ") + " euros",
            f"{whole}元",
        ]
    )


def make_clock(rng: random.Random) -> str:
    hour, minute = rng.randrange(24), rng.randrange(60)
    return rng.choice(
        [
            f"{hour:02}:{minute:02}:{minute:02}",
            str(rng.randrange(1_500_000_000, 1_800_000_000)),
            str(rng.randrange(1_500_000_000_000, 1_800_000_000_000)),
            f"00:00:{minute:02},123 --> 00:01:{minute:02},456",
        ]
    )


def make_place(rng: random.Random) -> str:
    north, east = rng.uniform(-90, 90), rng.uniform(-180, 180)
    return rng.choice(
        [f"{north:.4f}, {east:.4f}", f"{north:.6f},{east:.6f}", f"{abs(north):.0f}°30'12\"N {abs(east):.0f}°07'39\"W"]
    )


def make_order(rng: random.Random) -> str:
    number = rng.randrange(10**7, 10**8)
    return rng.choice(
        [
            f"order #{number}",
            f"order 2024-{number}",
            f"PO-45000{number}",
            f"invoice INV-{number}-07",
            f"ticket {number}",
            f"Bestellung Nr. {number}{number % 100:02}",
            f"commande n° {number}",
            f"订单号{number}{number}",
            f"tracking 1Z999AA1{number}84",
            f"part 406-{number % 9000 + 1000}-B",
            f"case 12-cv-{number % 90000 + 10000}",
        ]
    )


def make_version(rng: random.Random) -> str:
    a, b, c, d = (rng.randrange(1, 99) for _ in range(4))
    return rng.choice(
        [
            f"v{a}.{b}.{c}",
            f"version {a}.{b}.{c}.{d}",
            f"v{a}.{b}.{c}.{d}",
            f"Python 3.{b}.{c}",
            f"Version {a}.{b}.{c}.{d}",
            f"Chrome/{a}.0.{b}{c}.{d}",
            f"release {a}.{b}.{c}-rc{d}",
            f"numpy=={a}.{b}.{c}",
            f"版本{a}.{b}.{c}.{d}",
            f"section {a}.{b}.{c}.{d}",
            f"1.3.6.1.4.1.{a}.{b}",
            f"driver-{a}.{b}.{c}.{d}.zip",
            f"Kapitel {a}.{b}.{c}.{d}",
        ]
    )


def make_digest(rng: random.Random) -> str:
    return rng.choice(
        [
            pick(rng, HEX, 40),
            pick(rng, HEX, 7),
            pick(rng, HEX, 64),
            f"sha256:{pick(rng, HEX, 64)}",
            pick(rng, HEX, 32),
            str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            f"commit {pick(rng, HEX, 40)}",
            f"md5 {pick(rng, HEX, 32)}",
            f"0x{pick(rng, HEX, 8)}",
            f"sha512-{pick(rng, ALNUM + '+/', 86)}==",
            pick(rng, HEX, 40).upper(),
        ]
    )


def make_address(rng: random.Random) -> str:
    pairs = [pick(rng, HEX, 2) for _ in range(6)]
    return rng.choice(
        [
            ":".join(pairs),
            "-".join(pairs),
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.0",
            "255.255.0.0",
            "localhost:8080",
            "::1",
            "256.300.1.2",
            "1.2.3",
            "std::vector<int>",
            "a[::2]",
            "x[1::2]",
            "rows[::-1]",
            "dead::beef::cafe",
            "abc::def()",
            "10.0.0.0/8",
            "192.168.0.0/16",
            "C::f",
            "12:34:56:78",
        ]
    )


def make_at_sign(rng: random.Random) -> str:
    word = rng.choice(["logo", "icon", "hero", "banner"])
    return rng.choice(
        [
            "@app.route('/home')",
            f"{word}@2x.png",
            f"{word}@3x.webp",
            "pip install a@b",
            "npm install lodash@4.17.21",
            "react@18.2.0",
            "@types/node@20.1.0",
            "root@server",
            "deploy@web-01:~$",
            "@elonmusk",
            "@user.name",
            "3 apples @ 2.50",
            "git@github.com:someone/project.git",
            "Y = X@W.T",
            "y = A@B.reshape(2, 3)",
            "@dataclass(frozen=True)",
            "@media (max-width: 600px)",
            "loss@epoch.12",
            "meet @ 5.30pm",
            "pkg @ file:///tmp/pkg.whl",
            "precision@k.",
            "a@",
            "@b.com",
        ]
    )


def make_colour(rng: random.Random) -> str:
    return rng.choice(
        [
            f"#{pick(rng, HEX, 6)}",
            f"rgba({rng.randrange(256)}, {rng.randrange(256)}, 12, 0.5)",
            f"data:image/png;base64,iVBORw0KGgo{pick(rng, ALNUM + '+/', 90)}==",
            f"background: #{pick(rng, HEX, 3)};",
            f"U+{pick(rng, HEX, 4).upper()}",
            f"\\x{pick(rng, HEX, 2)}\\x{pick(rng, HEX, 2)}",
        ]
    )


WORDS = [
    "a task-based interface",
    "it is risk-free",
    "a desk-sized disk-image",
    "sk-learn is a typo for scikit-learn",
    "the ask-me-anything session",
    "an eyJ prefix marks a JWT",
    "ghp_ is the prefix of a GitHub token",
    "keys that begin with AKIA",
    "hf_hub_download fetches a file",
    "npm_config_registry",
    "sk-estimator-with-a-long-hyphenated-name",
    "dusk-to-dawn lighting in a mask-wearing crowd",
    "npm_lifecycle_event_of_the_package_script",
    "pypi-server hosts packages",
    "the tokenizer_config.json file",
    "glpat- marks a GitLab token",
    "hf_transfer_enabled_by_default_in_this_release",
]

PASSWORDS = [
    "I forgot my password",
    "the password is required",
    "Das Passwort ist falsch.",
    "le mot de passe est obligatoire",
    "请输入密码",
    "密码是必填项",
    "Password: required",
    "the password is 8 characters long",
    "the password must have 12 characters",
    "password: str",
    "password: string",
    "choose a strong password, e.g. with 3 words",
    "The secret is to keep it simple",
    "the key is patience",
    "token: the smallest unit of text",
    "The key to success: practice",
    "secret: none",
    "a password is case-sensitive",
    "passwords are hashed with SHA256",
    "the token limit is 4096",
    "max_tokens=4096",
    "num_tokens: 128000",
    "token_count = 151936",
    "the API key has expired",
    "your password was changed on 2024-01-05",
    "The secret is out: version 2.0 is here",
    "mot de passe : au moins 8 caractères",
    "the key is 42",
    "the secret number is 7",
    "token ids 50256 and 50257",
]

PLACEHOLDERS = [
    "token=<YOUR_TOKEN>",
    "token=$TOKEN",
    "password=xxxx",
    "api_key=YOUR_API_KEY",
    "api_key: 'your-api-key-here'",
    "password=********",
    "password=example",
    "secret={{ secret }}",
    "password=${DB_PASSWORD}",
    "token=%s",
    "Authorization: Bearer <token>",
    "Authorization: Bearer $TOKEN",
    "postgresql://user:password@localhost/db",
    "https://<user>:<password>@host/",
    'api_key="sk-..."',
    "export OPENAI_API_KEY=...",
    'password = "changeme"',
    "PASSWORD=[hidden]",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxx",
    "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "token: {token}",
    "Bearer YOUR_ACCESS_TOKEN",
    "password='password'",
    "secret_key = 'replace-me'",
    "Authorization: Bearer {access_token}",
    "AKIAXXXXXXXXXXXXXXXX",
    "API_KEY=insert_key_here",
]

CODE = [
    "password = os.environ['DB_PASSWORD']",
    "token = tokenizer.encode(text)",
    "key = sorted(items, key=lambda item: item[1])",
    "password = getpass.getpass()",
    "def login(user: str, password: str | None = None) -> bool:",
    "if token == expected_token:",
    "const token = req.headers.authorization",
    "self.secret = secret",
    "login(user=user, password=password)",
    "for key, value in data.items():",
    "api_key = config.get('api_key')",
    '<input type="password" name="password">',
    "token = next(tokens)",
    "key=key1",
    "password = input('Password: ')",
    "let secret = Math.floor(Math.random() * 100)",
    "print(f'{key}: {value}')",
    "tokens = [101, 7592, 2088, 102]",
    'String password = request.getParameter("password");',
    "SELECT password FROM users WHERE id = 12",
    "key: Optional[str] = None",
    "secret = secrets.token_hex(32)",
    "token_type_ids=None",
    "PRIMARY KEY (id), FOREIGN KEY (user_id)",
    "-----BEGIN PUBLIC KEY-----",
    "ssh-keygen -t ed25519",
    "password_hash = hash_password(password)",
    "$password = $_POST['password'];",
    'key = f"{user_id}_{item_id}"',
    "sort(key='created_at')",
]

NAME_PARTS = [
    "Markus wrote a remark about the market.",
    "The bookmark is a benchmark.",
    "The rosebud-like flower arose from the primrose.",
    "Annapolis is annual news.",
    "Anna baked a cake with Mr. Schmidtke.",
    "Schmidt, Anna-Lena",
    "Müllerstraße in Berlin",
    "Marking the Denmark map",
    "小明在学校",
    "王小姐来了",
    "李先生",
    "Roses are red.",
    "Ann Leeds is a town clerk.",
    "Kowalskis and others",
    "Priya went home",
    "太郎と花子",
    "Jean Moreau",
    "Rosemary and thyme",
    "欧阳先生",
    "Die Auszeichnungssprache heißt Markdown.",
]

MEASURES = [
    "a 3840x2160 screen",
    "12.5 km at 1013.25 hPa",
    "5-7 days, 10-12 hours",
    "1914-1918 and 1939-1945",
    "pp. 123-145",
    "scores of 21-15 21-18",
    "ISO 8601:2004",
    "the 555-0100 exhibit label",
    "E = 6.62607015e-34",
    "f(x) = 3x^2 - 12x + 100",
    "10 000 000 people",
    "1 000 000 000",
    "ratio 16:9 at 60 fps",
    "RFC 2822, RFC 5322",
    "GPIO 17 27 22 5",
    "0 1 1 2 3 5 8 13 21 34 55",
    "[0.12, 0.5, 0.33, 0.05]",
    "12 34 56 78 90",
    "3.1415926535 8979323846",
    "zip 94105-1234",
    "ASIN B08N5WRWNW",
    "100-200-300 split",
    "1-2-3-4-5",
    "2 + 2 = 4; 123 * 456 = 56088",
    "chr1:123456789-123459999",
    "model 7700-1234-55",
    "ISBN 0-306-40615-2",
    "DOI 10.1000/182",
    "size 20 30 40 50 60",
    "01 02 03 04",
    "ISSN 2049-3630",
    "AS/400 System 36-900",
    "2020 2021 2022 2023",
    "010101 110011",
    "1000 2000 3000",
    "10-20-30",
]

TEMPLATES = [
    "Look at {} again.",
    "We saw {} in the report.",
    "It says {} here",
    "({})",
    "Da steht {} im Text.",
    "Siehe {}, bitte.",
    "On lit {} dans le texte.",
    "Voir {} ci-dessous.",
    "这里写着 {} 。",
    "见 {}",
    "{}",
    "- {}",
]

HELD_OUT_TEMPLATES = [
    "user: {}\nassistant: ok",
    "| a | {} |",
    "> {}",
    "1. {}\n2. and more",
    "hm, {} i guess?",
    "`{}`",
    "also {} steht im Log",
    "bah, {} quoi",
    "用户：{}\n客服：好的",
    "**{}**",
]

FORMS: dict[str, Callable[[random.Random], str]] = {
    "wrong IBAN": make_wrong_iban,
    "wrong card": make_wrong_card,
    "ISBN": make_isbn,
    "EAN": make_ean,
    "date": make_date,
    "number": make_number,
    "price": make_price,
    "clock": make_clock,
    "place": make_place,
    "order": make_order,
    "version": make_version,
    "digest": make_digest,
    "address": make_address,
    "at sign": make_at_sign,
    "colour or data": make_colour,
    "words": lambda rng: rng.choice(WORDS),
    "password": lambda rng: rng.choice(PASSWORDS),
    "placeholder": lambda rng: rng.choice(PLACEHOLDERS),
    "code": lambda rng: rng.choice(CODE),
    "name part": lambda rng: rng.choice(NAME_PARTS),
    "measure": lambda rng: rng.choice(MEASURES),
}


def make_look_alikes(seed: int, templates: list[str], count: int = 500) -> list[LookAlike]:
    """`count` look-alikes, the forms in turn."""
    rng = random.Random(seed)
    looks = []
    for number in range(count):
        form = list(FORMS)[number % len(FORMS)]
        looks.append(LookAlike(rng.choice(templates).replace("{}", FORMS[form](rng)), form))
    return looks
