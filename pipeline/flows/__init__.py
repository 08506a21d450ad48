"""Where a conversion runs: in this process and its children (`local.py`), or on a cluster (`on_ray/`).

    converter.py     what both put together: rasterizer, engines, admission, writer
    requirements.py  what a run lacks of this machine
    ray_jobs.py      a cluster seen from outside: Ray's Jobs API

In: shards. Out: committed shards, and what bounded the run. Does not know how a page is drawn, read or written.
"""
