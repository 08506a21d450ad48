"""`quire report`: a run on one page of HTML, made from the files of its output folder alone.

    survey.py      the tables, one shard at a time → counts, histograms, the pages worth a look
    funnel.py      those counts → from documents listed to pages read, each loss with its reason
    excerpts.py    the first lines of the pages worth a look        thumbnails.py   and what they look like
    figures.py     counts → drawings                                page.py         all of it → HTML

Nothing here changes the run. Memory is bounded by a few shards and by the number of hosts, kinds and pages shown.
"""
