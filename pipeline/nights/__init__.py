"""Incremental runs: what the inputs hold now, and what was added, changed, moved or deleted since the last one.

A "night" is the record of one incremental run, at any time of day: a snapshot of all live objects.

    log.py       the recorded nights; if two runs want to record the next one, only one wins
    look_up.py   what changed objects hold, from the plan and the pages
    changes.py   the next night, from the last one, a listing and what was looked up
    current.py   the texts and pages of the live objects, for people

Does not know how objects are listed and converted: `jobs/nightly.py` does that first.
"""
