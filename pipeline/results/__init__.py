"""What a run leaves in its output folder, and the ledger: planned pages compared with written rows.

    write.py       a shard's rows → its files; the commit       assemble.py    pages → one text of a document
    finish.py      documents that several shards share          ledger.py      is every page accounted for?
    run_folder.py  the folder's settings and versions           usage.py       GPU or core time that was used

In: results of pages. Out: tables and Markdown. Does not know how pages were read.
"""
