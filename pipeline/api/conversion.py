"""Planning and converting, as calls that wait and as a coroutine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Unpack

from quire.api.keywords import Keywords, settings_from, wait_for
from quire.results.ledger import Account
from quire.run.convert import convert as convert_inputs
from quire.run.inputs import Inputs
from quire.run.observer import Observer
from quire.run.plan import PlanTotals, make_plan

Sources = str | Path | Iterable[str | Path]


def plan(
    sources: Sources,
    output: str | Path,
    *,
    manifests: Iterable[str | Path] = (),
    passwords: Iterable[str] = (),
    limit: int | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Keywords],
) -> PlanTotals:
    """List and open the documents of `sources`, and write the plan to `output`, as `quire plan` does.

    Returns the totals of all that is planned there. Arguments and errors are those of `convert`.
    """
    inputs = _inputs(sources, output, manifests, passwords, limit)
    return wait_for(make_plan(inputs, settings_from(settings), observer))


def convert(
    sources: Sources,
    output: str | Path,
    *,
    manifests: Iterable[str | Path] = (),
    passwords: Iterable[str] = (),
    limit: int | None = None,
    on_ray: bool = False,
    observer: Observer | None = None,
    **settings: Unpack[Keywords],
) -> Account:
    """Convert the documents of `sources` into Markdown and Parquet below `output`, as `quire convert` does.

    Calling it again goes on where it was stopped, takes what is new, and repeats nothing that is done. `sources`:
    paths, URIs and globs. `limit`: the first so many documents alone. `on_ray`: on a cluster, whose address is in the
    section `ray`. `settings`: sections as dictionaries, like `engine={"name": "http", "modes": ["base"]}`; an engine
    may be its name alone.

    Returns the ledger: what was planned, read, failed, and why. A page or document that fails is in there, and raises
    nothing. Raises `QuireError`: `ConfigError` for what makes no sense, `MissingDependency`, `StorageError`, and
    `RunStopped` where a limit or the canary ended the run; what was committed stays.
    """
    inputs = _inputs(sources, output, manifests, passwords, limit)
    return wait_for(convert_inputs(inputs, settings_from(settings), on_ray, observer))


async def convert_async(
    sources: Sources,
    output: str | Path,
    *,
    manifests: Iterable[str | Path] = (),
    passwords: Iterable[str] = (),
    limit: int | None = None,
    on_ray: bool = False,
    observer: Observer | None = None,
    **settings: Unpack[Keywords],
) -> Account:
    """`convert`, in the event loop of whoever calls it."""
    inputs = _inputs(sources, output, manifests, passwords, limit)
    return await convert_inputs(inputs, settings_from(settings), on_ray, observer)


def _inputs(
    sources: Sources,
    output: str | Path,
    manifests: Iterable[str | Path],
    passwords: Iterable[str],
    limit: int | None,
) -> Inputs:
    several = (sources,) if isinstance(sources, str | Path) else sources
    return Inputs(tuple(map(str, several)), tuple(map(str, manifests)), str(output), tuple(passwords), limit=limit)
