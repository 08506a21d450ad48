"""Convert a folder, and say what could not be read: `python examples/convert_folder.py DOCUMENTS OUTPUT`."""

import sys

import quire


def main(documents: str, output: str) -> None:
    account = quire.convert(documents, output)
    print(f"{account.pages['ocr']} pages read, {account.pages['blank']} blank, {account.pages['failed']} failed")
    for page in account.failed:
        print(f"failed: {page.uri}, page {page.page_index + 1}: {page.message}")
    for uri, (status, reason) in account.unread.items():
        print(f"not read: {uri}: {status}, {reason}")


if __name__ == "__main__":
    main(*sys.argv[1:])
