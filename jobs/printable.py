"""Untrusted text on a terminal. Names of documents, and what libraries say of them, may hold sequences that move the
cursor, set a title, or look like a line of Quire's own.
"""


def printable(text: str) -> str:
    """One line of printable characters; everything else, line breaks included, is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same, with its lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
