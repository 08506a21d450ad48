"""Files that programs leave beside documents, and that nobody means, by their names."""

from __future__ import annotations

import re

_LEFTOVER = re.compile(
    r"\.DS_Store|\.localized|Icon\r|\._.*"  # macOS; the last hold what other file systems have no place for
    r"|(?:ehthumbs|ehthumbs_vista|Thumbs)\.db|desktop\.ini"  # Windows
    r"|~\$.*|\.~lock\..*#"  # Office and LibreOffice, while a document is open
    r"|\.directory|\.nfs[0-9a-f]+|\.(?:git)?keep|_SUCCESS",  # KDE, NFS, Git, Spark
    re.IGNORECASE | re.DOTALL,
)


def is_leftover(name: str) -> bool:
    """Whether the last part of a document's name is one that such files have. What it holds may yet be a document."""
    return _LEFTOVER.fullmatch(name.rpartition("/")[2]) is not None
