"""`quire engines`: what can read pages here, and the models that Quire knows how to ask."""

from __future__ import annotations

from dataclasses import replace
from textwrap import fill
from typing import get_args, get_type_hints

import click

from quire.config.engines import EngineSettings
from quire.config.profiles import DEFAULT_PROFILES, PROFILES, Profile
from quire.config.settings import Settings
from quire.engines.choose import what_is_missing

_WIDTH = 110


@click.command("engines", short_help="List the engines, and the models with a profile.")
@click.argument("profile", required=False, type=click.Choice(list(PROFILES)))
def engines_command(profile: str | None) -> None:
    """List the engines (--engine) and what is missing for them, and the profiles of models (engine.profile).

    With the name of a PROFILE, show all of it: prompt, sampling, image sizes, source.
    """
    if profile is None:
        click.echo("\n".join([*_engines(), "", *_profiles()]))
    else:
        click.echo("\n".join(_one(PROFILES[profile])))


def _engines() -> list[str]:
    lines = ["engine      can run here"]
    for name in get_args(get_type_hints(EngineSettings)["name"]):
        settings = replace(Settings(), engine=replace(EngineSettings(), name=name))
        missing = what_is_missing(settings)
        lines.append(f"{name:<12}{f'no, needs {missing}' if missing else 'yes'}")
    return [*lines, "scripted reads nothing: it makes words up, for tests and benchmarks"]


def _profiles() -> list[str]:
    lines = [f"{'profile':<16}{'model':<36}{'licence':<13}{'engines':<12}modes"]
    for profile in PROFILES.values():
        engines, licence = ", ".join(_engines_of(profile)), profile.licence or "not known"
        modes = ", ".join(profile.modes or profile.server_modes)
        lines.append(f"{profile.name:<16}{profile.model or 'any':<36}{licence:<13}{engines:<12}{modes}")
    return lines


def _engines_of(profile: Profile) -> list[str]:
    return [engine for engine in DEFAULT_PROFILES if engine == "http" or not profile.is_chat]


def _one(profile: Profile) -> list[str]:
    lines = [profile.name]
    for engine in _engines_of(profile):
        lines += [f"[engine] with name = {engine!r}"]
        lines += [f"  {key} = {value!r}" for key, value in profile.engine_defaults(engine).items()]
    notes = [f"Source: {profile.source}"] if profile.source else []
    return [*lines, *notes, *([fill(profile.note, _WIDTH)] if profile.note else [])]
