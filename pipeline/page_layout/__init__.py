"""Lines of text with their boxes → headings, paragraphs, lists and tables in reading order. Rules, without a model.

    lines.py                    a line, its box, rows of lines
    gutters.py, white_space.py  the gaps between columns and cells
    reading_order.py            regions and their order
    paragraphs.py               lines → paragraphs and lists
    ruled_tables.py             cells → a table
    blocks.py                   all of it: lines → blocks of Markdown

Pure functions over records: no pixels, no engine, no document. Whatever finds lines may use them.
"""
