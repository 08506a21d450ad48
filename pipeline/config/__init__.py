"""Settings: small dataclasses, read from a file and from options; and models as data.

    settings.py       all settings, and the fingerprint of those that change results
    settings_file.py  from TOML and `section.key=value` to settings
    profiles.py       what each known model wants

In: a file and options. Out: one frozen `Settings`. Does not know what the settings do.
"""
