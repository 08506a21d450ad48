"""`quire engines`: what can read pages here, and the models that Quire knows how to ask."""

from __future__ import annotations

from textwrap import fill

import click

from quire.config.engines import KINDS, EngineKind
from quire.config.profiles import PROFILES, Profile
from quire.config.sections import EngineSettings
from quire.config.settings import Settings
from quire.flows.requirements import missing_for_engine

_WIDTH = 110


@click.command("engines")
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
    for kind in KINDS:
        answer = kind.description if kind.is_for_tests else f"{_can_run(kind)}\n{'':<12}{kind.description}"
        lines.append(f"{kind.name:<12}{answer}")
    return [*lines, "quire doctor --engine NAME tries one, on a page."]


def _can_run(kind: EngineKind) -> str:
    """With the default settings."""
    missing = missing_for_engine(Settings(engine=EngineSettings(name=kind.name)))
    if missing:
        return f"no, needs {missing}"
    return "yes, where its server is there: http.url" if kind.is_server else "yes"


def _profiles() -> list[str]:
    lines = [f"{'profile':<16}{'model':<36}{'licence':<13}{'engines':<12}modes"]
    for profile in PROFILES.values():
        engines = ", ".join(kind.name for kind in _engines_of(profile))
        licence = profile.licence or "not known"
        modes = ", ".join(profile.modes or profile.server_modes)
        lines.append(f"{profile.name:<16}{profile.model or 'any':<36}{licence:<13}{engines:<12}{modes}")
    return lines


def _engines_of(profile: Profile) -> list[EngineKind]:
    return [kind for kind in KINDS if kind.has_model and (kind.is_server or not profile.is_chat)]


def _one(profile: Profile) -> list[str]:
    lines = [profile.name]
    for kind in _engines_of(profile):
        lines += [f"[engine] with name = {kind.name!r}"]
        lines += [f"  {key} = {value!r}" for key, value in profile.engine_defaults(kind.is_server).items()]
    notes = [f"Source: {profile.source}"] if profile.source else []
    return [*lines, *notes, *([fill(profile.note, _WIDTH)] if profile.note else [])]
