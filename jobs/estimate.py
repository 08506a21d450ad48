"""`quire plan --estimate`: what a run will take, estimated from a sample; afterwards, the estimate beside the actual
values.

Joins the parts of `pipeline/estimate/` to a bucket and an engine, and puts figures into words. Writes `estimate.json`
and nothing else, so that settings can be compared before one is chosen.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from quire.budget.pace import pace_of
from quire.budget.prices import device, num_devices, price_per_hour, unit
from quire.config.settings import Settings
from quire.conversion.shard import first_cause
from quire.engines.choose import kind_of
from quire.engines.ladder import ladder
from quire.estimate.actual import actual
from quire.estimate.figures import Figure, Pace, reckon
from quire.estimate.population import Population
from quire.estimate.record import Estimate, read_estimate, write_estimate
from quire.estimate.sample import Sample, SampledDocument, StratumSize
from quire.estimate.survey import survey
from quire.meters.progress import Progress
from quire.planning.plan_index import PlanIndex
from quire.planning.plan_log import part_keys, read_part
from quire.planning.probe import Prober
from quire.quantities import counted, dollars
from quire.rasterize.fetching import FetchingRasterizer
from quire.rasterize.sandbox import Sandbox
from quire.records import Document, DocumentRef
from quire.results.run_folder import fingerprint_in, read
from quire.storage import Folder
from quire.storage.cache_folder import open_cache


async def make_estimate(
    folder: Folder, refs: Iterable[DocumentRef], settings: Settings, passwords: tuple[str, ...] = ()
) -> Estimate:
    """Count what is planned in the output folder and whatever else is in `refs`, look at a sample of both, and keep
    what follows in the folder."""
    pace = pace_of(settings)  # refuses what is not known before anything is fetched
    population = await asyncio.to_thread(_population, folder, refs, settings.cost.sample_documents)
    drawn = population.draw()
    sandbox = Sandbox(settings.render, passwords)
    cache = open_cache(settings.flow, settings.storage)
    prober = Prober(cache, sandbox, settings.plan)
    counts: Counter[str] = Counter()
    try:
        with Progress("estimating", "document", len(drawn)) as progress:

            def observe(document: Document) -> None:
                counts[document.status.value] += 1
                progress.show(counts)

            rasterizer = FetchingRasterizer(cache, sandbox, settings.plan.num_fetches)
            mode, at_once = ladder(settings.engine)[0].mode, settings.plan.num_fetches
            seen = await survey(drawn, prober.probe, rasterizer, mode, at_once, observe)
    except BaseExceptionGroup as errors:
        raise first_cause(errors) from errors
    finally:
        await sandbox.close()
    fingerprint = await asyncio.to_thread(fingerprint_in, folder, settings)
    estimate = _estimate(population, seen, pace, settings, fingerprint)
    estimate = replace(estimate, seen_bytes=sum(max(0, one.unit.size_bytes) for one in drawn))
    await asyncio.to_thread(write_estimate, folder, estimate)
    return estimate


def _population(folder: Folder, refs: Iterable[DocumentRef], sample_documents: int) -> Population:
    """What is planned already, with its pages, and whatever the listing has beyond that."""
    population, planned_already = Population(sample_documents), PlanIndex()
    for number, key in enumerate(part_keys(folder)):
        part = read_part(folder, key)
        planned_already.absorb(number, part)
        for planned in part:
            num_pages = sum(stop - start for _, start, stop in planned.ranges)
            population.add(replace(planned.document, num_pages=num_pages))
    for ref in refs:
        if not planned_already.knows(ref):
            population.add(ref)
    return population


def _estimate(
    population: Population, seen: list[SampledDocument], pace: Pace | None, settings: Settings, fingerprint: str
) -> Estimate:
    strata = {name: StratumSize(s.num_documents, s.num_pages) for name, s in population.strata.items()}
    kind = kind_of(settings)
    figures = reckon(
        Sample(strata, seen),
        pace,
        writes_tags=kind.has_model and settings.engine.parser == "grounding",
        keeps_latents=settings.engine.latents != "off",
    )
    left_out = set() if kind.counts_tokens else {"output_tokens", "tokens_per_page"}
    if not figures["image_tokens"].high:  # a mode that counts none
        left_out.add("image_tokens")
    figures = {name: figure for name, figure in figures.items() if name not in left_out}
    price, devices = price_per_hour(settings), num_devices(settings, settings.ray.num_engines or None)
    if "device_hours" in figures:
        figures["cost_usd"] = figures["device_hours"].scaled(price)
        figures["run_hours"] = figures["device_hours"].scaled(1 / devices)
    is_list_price = settings.cost.price_per_hour is None
    price_source = "a round list price; --gpu-price says what you pay" if is_list_price else "as given"
    return Estimate(
        fingerprint=fingerprint,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        num_documents=population.num_documents,
        num_bytes=population.num_bytes,
        seen_documents=len(seen),
        seen_bytes=0,
        seen_pages=sum(len(document.pages) for document in seen),
        device=device(settings),
        num_devices=devices,
        price_per_hour=price,
        figures=figures,
        notes=(
            f"speed: {pace.source}" if pace else "speed: not known for this engine; give --pages-per-gpu-day",
            f"price: ${price:g} a {unit(settings)}-hour, {price_source}",
            "tokens: of the text layer's characters, or 600 to 1,900 a page without one; retries are in the speed only",
        ),
    )


def describe_estimate(estimate: Estimate) -> str:
    """The estimate as a table with its assumptions."""
    lines = [
        f"{counted(estimate.num_documents, 'document')}, {_bytes(estimate.num_bytes)}; looked at "
        f"{estimate.seen_documents:,} of them ({_bytes(estimate.seen_bytes)}), {counted(estimate.seen_pages, 'page')}",
        f"{'':<24}{'estimate':>14}   {'nine times in ten':<30}",
    ]
    for name, (label, words) in _rows(estimate).items():
        if name in estimate.figures:
            figure = estimate.figures[name]
            lines.append(f"{label:<24}{words(figure.value):>14}   {_range(figure, words)}")
    return "\n".join([*lines, *(f"  {note}" for note in estimate.notes)])


def describe_outcome(folder: Folder) -> str:
    """The estimate for the folder's run beside what the run took, as a table; empty if there is no estimate for it."""
    estimate = read_estimate(folder, str(read(folder)["fingerprint"]))
    if estimate is None:
        return ""
    took = actual(folder)
    took["cost_usd"] = took["device_hours"] * estimate.price_per_hour
    lines = [f"{'':<24}{'estimate':>14}   {'nine times in ten':<30}{'actual':>14}"]
    for name, (label, words) in _rows(estimate).items():
        if name in estimate.figures and name in took:
            figure, number = estimate.figures[name], took[name]
            place = "below" if number < figure.low else "above" if number > figure.high else "within"
            columns = f"{words(figure.value):>14}   {_range(figure, words):<30}{words(number):>14}"
            lines.append(f"{label:<24}{columns}  {place}")
    return "\n".join(lines)


def _rows(estimate: Estimate) -> dict[str, tuple[str, Callable[[float], str]]]:
    """Each figure's label and the words for its number, in the order shown."""
    many, is_gpu = f"{estimate.num_devices:g}", estimate.device != "core"
    hours = f"{'GPU' if is_gpu else 'core'}-hours" + (f", {estimate.device}" if is_gpu else "")
    what = f"{many} {estimate.device if is_gpu else 'cores' if estimate.num_devices > 1 else 'core'}"

    def finish(number: float) -> str:
        return _moment(estimate.made_at, number)

    return {
        "pages": ("pages", _count),
        "read_pages": ("pages for the model", _count),
        "read_share": ("  of all pages", lambda share: f"{share:.1%}"),
        "image_tokens": ("image tokens", _count),
        "output_tokens": ("output tokens", _count),
        "tokens_per_page": ("  a page read", _count),
        "device_hours": (hours, _hours),
        "cost_usd": ("cost", dollars),
        "storage_bytes": ("results", _bytes),
        "run_hours": (f"done (UTC), {what}", finish),
    }


def _range(figure: Figure, words: Callable[[float], str]) -> str:
    return f"{words(figure.low)} – {words(figure.high)}"


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _hours(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _bytes(number: float) -> str:
    for size, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if number >= size:
            return f"{number / size:,.1f} {name}"
    return f"{number / 1e3:,.1f} kB"


def _moment(made_at: str, hours: float) -> str:
    """When a run of so many hours ends, if it begins at the time of the estimate."""
    try:
        return f"{datetime.fromisoformat(made_at) + timedelta(hours=hours):%Y-%m-%d %H:%M}"
    except OverflowError:
        return "never"
