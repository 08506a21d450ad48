"""What can be set: settings as small dataclasses, and the fingerprint of those that change results.

    setting.py     what a setting is: a default, a meaning, a range
    sections.py    the other sections
    engines.py     engines as data, and the sections that are one engine's own
    profiles.py    models as data
    extras.py      optional packages as data
    settings.py    all of them together
    results.py     which ones change results, and their fingerprint
    settings_file.py, settings_template.py   read from TOML and options, written as TOML
    described.py   each one in words, for whoever lists them

Credentials and passwords are no settings, but vLLM's own arguments may hold a secret: it is used, changes no results,
and reaches no file that Quire writes.

In: a file and options. Out: one frozen `Settings`. Does not know what the settings do.
"""
