"""One shard: from the pages that were planned to their rows. Read `shard.py` first.

    shard.py            a shard's pages through all stages, each as soon as it can
    page.py             one page: its attempts, up to its one outcome
    admission.py        how many pages, and bytes of their images, are in flight
    document_budget.py  how many of a document's pages may hang before the rest is left out

In: a shard, a rasterizer, an engine. Out: one result for each page, given to a writer. Does not know where rasterizers
and engines run, nor where rows go.
"""
