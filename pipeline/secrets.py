"""What a secret is, and how text that may hold one is shown: one rule for files, errors, logs, reports and jobs.

A secret is recognised by its name, or by its place in a URL: a user's name and password before the host, and everything
after a question mark (signed URLs and tokens). A secret anywhere else is not recognised: a caller that knows it must
pass it. Does not know where text goes, nor what settings mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

HIDDEN = "***"
"""Shown in place of a secret."""

_KEYS = (
    "access|account|api|auth|encryption|license|master|private|secret|session|shared|signing|storage|subscription"
)
_NAME = (
    r"(?:secret|passw(?:or)?d|passphrase|credential)[\w.-]{0,64}"  # wherever it stands in a name
    rf"|(?:token|(?:{_KEYS})[_-]?key(?:[_-]?id)?|auth|authorization|cookie|signature)"  # at a name's end
)
_VALUE = r"""(?:(?:bearer|basic)\s[^\s'",;]+|"[^"]*"?|'[^']*'?|\{[^}]*\}?|\[[^\]]*\]?|[^\s'",;)}\]]+)"""
_SECRET_NAME = re.compile(rf"[\w.-]*?(?:{_NAME})", re.IGNORECASE)
# `name = value`, or `"name": value` with quotes. Without quotes, `the token: what it is` may be a sentence.
_NAMED = re.compile(
    rf"""((?:{_NAME})(?:['"]?\s{{0,4}}=\s{{0,4}}|['"]\s{{0,4}}:\s{{0,4}})|authorization:\s{{0,4}}){_VALUE}""",
    re.IGNORECASE,
)
# Before the host. A password that is not percent-encoded may hold characters that end a host. A port is no password.
_USER = re.compile(r"(?<=://)(?:[^\s/?#\"]{0,500}|[^\s/?#:\"]{0,99}:(?!\d{1,5}(?:[/?#]|$))[^\s\"]{0,500})@")
_USER_WITHOUT_SCHEME = re.compile(r"(?<![\w/:@.%-])[\w.%+-]{1,99}:[^\s/@'\"]{1,500}@(?=\w)")
_QUERY = re.compile(r"(\bhttps?://[^\s?'\"]{1,2000}\?)[^\s'\"]+", re.IGNORECASE)
_WHOLE_URL = re.compile(r"\w+://\S+")


def is_secret(name: str) -> bool:
    """Whether a setting, variable or header of this name holds a secret: `hf_token` does, and `max_tokens` does not."""
    return _SECRET_NAME.fullmatch(name) is not None


def redacted(text: str, known: Iterable[str] = ()) -> str:
    """The text, with `HIDDEN` in place of each secret, those in `known` included."""
    for secret in filter(None, known):
        text = text.replace(secret, HIDDEN)
    text = _USER_WITHOUT_SCHEME.sub(f"{HIDDEN}@", _USER.sub(f"{HIDDEN}@", text))
    text = _QUERY.sub(rf"\1{HIDDEN}", text)
    return _NAMED.sub(rf"\1{HIDDEN}", text)


def holds_secret(text: str) -> bool:
    """Whether anything in the text would have to be hidden."""
    return redacted(text) != text


def secret_values(value: Any) -> list[str]:
    """The texts that `without_secrets` leaves out of a value, so that they can be hidden elsewhere too."""
    if isinstance(value, dict):
        return [
            text
            for name, inner in value.items()
            for text in ([inner] if is_secret(name) and isinstance(inner, str) else secret_values(inner))
        ]
    return [text for inner in value for text in secret_values(inner)] if isinstance(value, list) else []


def without_secrets(value: Any) -> Any:
    """A JSON value without the entries whose names are those of secrets, and with the secrets in URLs hidden."""
    if isinstance(value, dict):
        return {name: without_secrets(inner) for name, inner in value.items() if not is_secret(name)}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return redacted(value) if isinstance(value, str) and _WHOLE_URL.fullmatch(value) else value
