"""Names of documents talk to no terminal and forge no line."""

from collections import Counter

from quire.jobs.printable import printable, printable_lines
from quire.jobs.status import describe_account
from quire.results.ledger import Account

NAME = "s3://b/\x1b]0;title\x07\nWRONG      made up\u202e.pdf"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable(NAME) == r"s3://b/\x1b]0;title\x07\nWRONG      made up\u202e.pdf"
    assert printable("Überträge – 文書.pdf") == "Überträge – 文書.pdf"
    assert printable_lines("two\nlines\x07") == "two\nlines\\x07"


def test_the_books_have_no_lines_but_their_own() -> None:
    account = Account(documents=Counter(corrupt=1), unread={NAME: ("corrupt", "bad \r\x1b[2J")})
    words = describe_account(account)
    assert "\x1b" not in words and "\r" not in words and "\nWRONG" not in words
    assert len(words.splitlines()) == 4
