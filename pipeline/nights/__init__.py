"""What the inputs hold now, night by night: which objects came, changed, moved and went since the night before.

    log.py       the nights that are recorded, and the race for the next one
    look_up.py   what changed objects hold, from the plan and the pages
    changes.py   the next night, from the last one, a listing and what was looked up
    current.py   the texts and pages of what is live, for people

Knows nothing of how objects are listed and converted: `jobs/nightly.py` has that done first.
"""
