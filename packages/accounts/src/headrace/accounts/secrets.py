"""What a key is made of: `hr_PREFIX_SECRET`.

The prefix is for recognition, and may be shown. The secret has 256 random bits, so that a plain keyed hash is enough
to store it: nobody can try them all, and a slow hash would only be a way to keep a gateway busy. Its last characters
are a checksum, so that what was typed wrongly, or made up, is refused without asking the database.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib

from msgspec import Struct

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
START = "hr_"
PREFIX_LENGTH = 10
# 43 of 62 characters are a little more than 32 bytes.
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
MAX_KEY_LENGTH = 256
_KEY = re.compile(r"hr_(?P<prefix>[0-9A-Za-z]{8,32})_(?P<secret>[0-9A-Za-z]{43,128})(?P<checksum>[0-9A-Za-z]{6})")


class Pepper:
    """What hashes are keyed with.

    Args:
        value: the secret.
    """

    def __init__(self, value: str) -> None:
        self._value = value.encode()

    def hash(self, key: str) -> bytes:
        """Return what is stored of a key, and compared."""
        return hmac.digest(self._value, key.encode(), hashlib.sha256)


class NewSecret(Struct, frozen=True, kw_only=True):
    """A key's text, and the part of it that may be shown."""

    prefix: str
    text: str


def make_secret() -> NewSecret:
    """Return a key that nobody can guess."""
    prefix, secret = _random(PREFIX_LENGTH), _random(SECRET_LENGTH)
    return NewSecret(prefix=prefix, text=f"{START}{prefix}_{secret}{_checksum(prefix, secret)}")


def find_prefix(key: str) -> str | None:
    """Return the prefix of what may be a key; None of what can't be one."""
    if len(key) > MAX_KEY_LENGTH or (match := _KEY.fullmatch(key)) is None:
        return None
    return match["prefix"] if _checksum(match["prefix"], match["secret"]) == match["checksum"] else None


def to_reference(text: str) -> str:
    """Return what a key may be asked for by, without its secret: an id or a prefix stays, a whole key becomes one."""
    return text.removeprefix(START).partition("_")[0] if text.startswith(START) else text


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _checksum(prefix: str, secret: str) -> str:
    number = zlib.crc32(f"{prefix}_{secret}".encode())
    digits: list[str] = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(digits)
