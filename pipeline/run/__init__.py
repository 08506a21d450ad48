"""A run from its inputs to its ledger, as calls: what the commands and the library do.

    inputs.py    what is read, and where results go
    plan.py      sources → the plan in the output folder
    convert.py   plan, convert what is not done, finish
    observer.py  who is told how it goes

In: inputs, settings, an observer. Out: a plan or a ledger; the results are in the output folder. Prints nothing and
parses nothing.
"""
