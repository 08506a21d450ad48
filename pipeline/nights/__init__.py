"""Incremental runs: what the inputs hold now, and which objects came, changed, moved or went since the last run.

A "night" is one incremental run that is recorded, at whatever time of day: a snapshot of all live objects.

    log.py       the nights that are recorded; two runs may want to record the next one, and one wins
    look_up.py   what changed objects hold, from the plan and the pages
    changes.py   the next night, from the last one, a listing and what was looked up
    current.py   the texts and pages of what is live, for people

Does not know how objects are listed and converted: `jobs/nightly.py` does that first.
"""
