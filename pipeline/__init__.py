"""Quire turns buckets of documents into training data.

    bucket/folder ─ discover ─► plan ─► shards ─► ┌─────────── one shard ───────────┐ ─► finish ─► status
       (storage)    list keys   probe     ≤ 256   │ rasterize ► recognize ► parse   │    stitch split documents,
                                sha256,   pages   │           ► assemble ► write    │    check the sums
                                pages             └─ commit = its Parquet file ─────┘

Two phases. Planning needs CPUs only: it lists objects, fetches each new one once, takes its sha256, type and page
count, drops exact duplicates and cuts shards. Converting takes shards. The unit of commit is the shard, the
unit of accounting is the page: every planned page ends in exactly one row of `pages`.

Read `convert.py` first; then `plan.py`; then whichever stage you came for. Records that cross borders are in
`records.py`, the tables in `schema.py`.
"""
