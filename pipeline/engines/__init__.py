"""Engines: each reads a page's image and returns its text. `base.py` has the contract, `choose.py` the list.

This module imports nothing, so that an engine's packages are needed only where it runs.
"""
