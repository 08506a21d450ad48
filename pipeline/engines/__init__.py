"""Engines: each reads a page's image and returns its text. `base.py` has the contract, `config/engines.py` the list.

    choose.py, ladder.py, local_host.py  from settings to an engine, to a page's attempts, to an engine in this process
    pool.py, keeper.py, slot.py          several engines: which one takes a page, which is started again, why it died
    cpu/, gpu/                           engines that compute here
    http_engine.py, scripted_engine.py   one behind a server, and one for tests

In: a page's image and a request. Out: what was recognized. Knows nothing of documents. This module imports nothing, so
that an engine's packages are needed only where it runs.
"""
