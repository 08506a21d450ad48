"""Names of results: from an object's name to a relative path that is safe to write.

A name comes from a bucket and may be anything: `../../etc/passwd`, `a//b`, control characters, bytes that are
no text, or two names that differ only in case. The path made of it stays below the output folder on any file
system. Collisions are settled by the planner, which knows all names (`PlanIndex`).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

_LONGEST_PART_BYTES = 180  # file systems allow 255; a suffix and `.md` have to fit
_LONGEST_NAME_BYTES = 700
_CONTROLS = r"\x00-\x1f\x7f-\x9f\u2028\u2029"
# They reverse the direction of text, or are invisible: a name would look like another one. Joiners are kept: they are
# a part of words in Persian, Hindi and other languages.
_INVISIBLE = r"\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
_UNSAFE = re.compile(rf'[<>:"|?*\\%{_CONTROLS}{_INVISIBLE}]|[\ud800-\udfff]')


def safe_name(name: str) -> str:
    """A relative path with `/` between its parts, no part of which is empty, `.`, `..` or unsafe to write.

    Unsafe characters are percent-encoded, so that a person still recognises the name.
    """
    safe = "/".join(_safe_part(part) for part in name.strip("/").split("/"))
    if len(safe.encode()) <= _LONGEST_NAME_BYTES:
        return safe
    # A store's keys have at most 1,024 bytes, and encoding has made this one longer than its source.
    return f"long-names/{_digest(name)[:32]}"


def with_suffix_of(name: str, uri: str, attempt: int = 0) -> str:
    """The name made unique by eight hex digits from its URI, different ones for each attempt."""
    return f"{name}~{_digest(f'{attempt} {uri}' if attempt else uri)[:8]}"


def collision_key(name: str) -> str:
    """Equal for two names that some file system treats as one: it ignores letter case and Unicode composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _safe_part(part: str) -> str:
    safe = _UNSAFE.sub(_percent, part)
    if safe.strip(". ") == "":
        safe = "".join(f"%{ord(c):02X}" for c in safe) or "%"
    if safe[-1] in ". ":
        safe = f"{safe[:-1]}%{ord(safe[-1]):02X}"
    if safe.lower().endswith(".md"):
        # `a` gives the file `a.md`; `a.md/b` would need a folder of the same name.
        safe = f"{safe[:-3]}%2E{safe[-2:]}"
    return _shorten(safe)


def _shorten(part: str) -> str:
    encoded = part.encode()
    if len(encoded) <= _LONGEST_PART_BYTES:
        return part
    kept = encoded[: _LONGEST_PART_BYTES - 17].decode(errors="ignore")
    return f"{kept}~{_digest(part)[:16]}"


def _percent(match: re.Match[str]) -> str:
    # Lone surrogates from U+DC80 stand for undecodable bytes of a file name (PEP 383); others are replaced.
    is_byte = "\udc80" <= match[0] <= "\udcff"
    encoded = match[0].encode("utf-8", "surrogateescape" if is_byte else "replace")
    return "".join(f"%{byte:02X}" for byte in encoded)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
