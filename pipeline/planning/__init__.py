"""Sources → documents → shards: what there is to do. It is written down before any of it is done.

    discover/   the objects below the sources              probe.py       an object → type, pages, sha256
    naming.py   where a document's Markdown goes           plan.py        objects → documents → shards
    plan_log.py, plan_index.py   the plan as tables, and what is planned already

In: sources. Out: parts of the plan, in the output folder. Fetches and opens each new object once; renders nothing.
"""
