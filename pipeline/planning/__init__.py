"""Sources → documents → shards: the work to do. The plan is written before any page is converted.

    discover/   the objects below the sources              probe.py       an object → type, pages, sha256
    naming.py   where a document's Markdown goes           plan.py        objects → documents → shards
    plan_log.py, plan_index.py   the plan as tables, and what is already planned

In: sources. Out: parts of the plan, in the output folder. Fetches and opens each new object once; renders nothing.
"""
