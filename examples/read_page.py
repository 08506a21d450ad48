"""Look at what an engine makes of pages: `python examples/read_page.py DOCUMENT [ENGINE]`."""

import sys

import quire


def main(document: str, engine: str = "rapidocr") -> None:
    with quire.PageReader(engine=engine) as reader:
        page = reader.read(document, page_index=0)
    print(f"{page.outcome}, {len(page.blocks)} blocks, marks: {[mark.kind for mark in page.marks]}")
    print(page.markdown)


if __name__ == "__main__":
    main(*sys.argv[1:])
