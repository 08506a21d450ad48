"""Engines: each reads a page's image and returns its text (`base` has the contract, `kinds` the list).

Imports nothing here, so that an engine's packages are needed only where it runs.
"""
