"""The way in from Python: what `import quire` gives. The commands use the same calls.

    conversion.py  plan and convert, as calls that wait and as coroutines
    page.py        one page, for notebooks
    results.py     the tables of a run
    keywords.py    settings as keywords

Prints nothing, and installs no handlers of signals or logs. A caller who wants progress gives an observer.
"""
