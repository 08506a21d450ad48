"""How long each engine takes for a page, for estimates. Computed from sizes and data sheets, or rough; measured
nowhere.

DeepSeek-OCR on a GPU follows `roofline.py`. The setting `cost.pages_per_gpu_day`, a measured value, replaces all of
this.
"""

from __future__ import annotations

from quire.budget.prices import gpu_type
from quire.budget.roofline import CARDS, REALISTIC, read_s, write_s
from quire.config.settings import Settings
from quire.engines.choose import kind_of
from quire.estimate.figures import Guess, Pace

_NUM_SEQS = 256  # pages decoded at once
_AGAINST_ARITHMETIC = Guess(1.0, 3.25)
"""How many times longer than reckoned a page may take. The authors of DeepSeek-OCR report 200,000 pages a day of an
A100-40G, for which the arithmetic gives 650,000: the rest was their host's overhead, retries and idle time."""
_AGAINST_ROUGH = Guess(0.5, 2.0)
_EXACTLY = Guess(1.0, 1.0)


def pace_of(settings: Settings) -> Pace | None:
    """The pace of the settings' engine; None if it is not known, as for a model behind a server."""
    kind = kind_of(settings)
    if settings.cost.pages_per_gpu_day is not None:
        number = settings.cost.pages_per_gpu_day
        return _steady(86400 / number, _EXACTLY, f"{number:,g} pages a day, as given")
    if seconds := kind.core_seconds_per_page:
        return _steady(seconds, _AGAINST_ROUGH, f"{seconds:g} core-seconds a page, give or take a factor of two")
    if kind.scripted_s:
        return _steady(kind.scripted_s(settings), _EXACTLY, "the script's own times")
    if kind.needs(settings).num_gpus:
        return _reckoned(gpu_type(settings))
    return None


def _reckoned(gpu: str) -> Pace:
    card = next(card for card in CARDS if card.name == gpu)
    return Pace(
        read_s=lambda page: read_s(card, page.view_sides_px, page.num_image_tokens, REALISTIC),
        write_s=lambda page, num_tokens: write_s(
            card, page.num_image_tokens, [max(1, round(num_tokens))], _NUM_SEQS, REALISTIC
        ),
        factor=_AGAINST_ARITHMETIC,
        source=f"DeepSeek-OCR on {gpu} as reckoned from its data sheet, and up to 3.25 times as long; not measured",
    )


def _steady(seconds: float, factor: Guess, source: str) -> Pace:
    return Pace(lambda page: seconds, lambda page, num_tokens: 0.0, factor, source)
