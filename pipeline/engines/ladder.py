"""The attempts that a page may take, from `engine.modes`. Does not know which engine makes them."""

from __future__ import annotations

from quire.config.sections import EngineSettings
from quire.errors import ConfigError
from quire.records import Request


def ladder(engine: EngineSettings) -> tuple[Request, ...]:
    """The attempts that a page may take, in order. Raises `ConfigError` for a rung that makes no sense."""
    return tuple(_request(rung, engine) for rung in engine.modes)


def _request(rung: str, engine: EngineSettings) -> Request:
    mode, at, words = rung.partition("@")
    try:
        temperature = float(words) if at else engine.temperature
    except ValueError:
        temperature = -1.0
    if not 0 <= temperature <= 2:
        raise ConfigError(f"engine.modes has {rung!r}: write mode or mode@temperature (0 to 2), like base@0.4")
    return Request(mode, engine.prompt, temperature, engine.max_output_tokens)
