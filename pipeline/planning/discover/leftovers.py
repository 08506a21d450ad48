"""Files that programs leave beside documents, and that nobody wants converted. Known by their names."""

from __future__ import annotations

import re

_LEFTOVER = re.compile(
    r"\.DS_Store|\.localized|Icon\r|\._.*"  # macOS; `._…` holds attributes that other file systems cannot store
    r"|(?:ehthumbs|ehthumbs_vista|Thumbs)\.db|desktop\.ini"  # Windows
    r"|~\$.*|\.~lock\..*#"  # Office and LibreOffice, while a document is open
    r"|\.directory|\.nfs[0-9a-f]+|\.(?:git)?keep|_SUCCESS",  # KDE, NFS, Git, Spark
    re.IGNORECASE | re.DOTALL,
)


def is_leftover(name: str) -> bool:
    """Whether the last part of a document's name is that of such a file. It may still hold a document."""
    return _LEFTOVER.fullmatch(name.rpartition("/")[2]) is not None
