"""`quire report`: a run on one page of HTML, made only from the files of its output folder.

    survey.py      the tables, one shard at a time → counts, histograms, the pages to look at
    funnel.py      those counts → from documents listed to pages read, each loss with its reason
    excerpts.py    the first lines of the pages to look at          thumbnails.py   and their pictures
    figures.py     counts → drawings                                page.py         all of it → HTML

Nothing here changes the run. Memory is bounded by a few shards and by the number of hosts, kinds and pages shown.
"""
