"""Settings: small dataclasses, and the fingerprint of those that change results.

    setting.py     what a setting is: a default, a meaning, a range
    sections.py    the sections, but those on engines
    engines.py     the sections on engines
    settings.py    all of them together
    results.py     which ones change results, and their fingerprint
    described.py   each one in words, for whoever lists them
    profiles.py    what each known model wants

Credentials and passwords are no settings. vLLM's own arguments may hold a secret: it is used, changes no results, and
reaches no file that Quire writes. Only `settings_file.py` knows where settings are read from. Does not know what they
do.
"""
