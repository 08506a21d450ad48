"""Words of others on a terminal. Names of documents, and what libraries say of them, are untrusted: they may hold what
moves a cursor, sets a title, or looks like a line of Quire's own.
"""


def printable(text: str) -> str:
    """One line in which a terminal sees nothing but characters; all else, line breaks included, comes escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same, with its lines."""
    return "\n".join(printable(line) for line in text.split("\n"))
