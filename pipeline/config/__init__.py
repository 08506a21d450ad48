"""What can be set: settings as small dataclasses, and engines, models and optional packages as data.

    setting.py            what a setting is: a default, a meaning, a range
    sections.py           the sections, except those of single engines
    engines.py            engines as data, and the section of each engine
    profiles.py           models as data
    extras.py             optional packages as data
    settings.py           all sections together
    results.py            which settings change results, and their fingerprint
    settings_file.py      TOML and `section.key=value` → settings
    settings_template.py  settings → TOML with comments
    described.py          each setting in words, for lists of settings
    page_choice.py        pages as a person writes them: `1-5,9`

Credentials and passwords are no settings. vLLM's own arguments may hold a secret: it is used, but changes no results
and is written to no file. In: a file and options. Out: one frozen `Settings`. Does not know what they do.
"""
