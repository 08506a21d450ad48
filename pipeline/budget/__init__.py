"""Which shards a run may begin: what it costs, what it may cost, and whether its first pages are good.

    prices.py             what an hour of a GPU or core costs
    pace.py, roofline.py  how long a page takes, as far as that is known
    canary.py             what the first shards must be like
    gate.py               hands out shards while all limits hold

In: the plan and the committed shards. Out: shards to begin, or the reason why there are no more. Does not know how a
shard is converted.
"""
