"""Pages that are encoded together: what waits for a batch always hears how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
import torch

from quire.deepseek_vllm.inputs import PageViews, page_views
from quire.engines.gpu.encoding import Batches
from quire.errors import EngineDead
from tests.slow.deepseek_vllm.pages import A4, page_image
from tests.waiting import wait_in_loop


def pages(number: int) -> list[PageViews]:
    return [page_views(page_image("tiny", seed, A4)) for seed in range(number)]


async def test_pages_that_wait_meanwhile_make_one_batch() -> None:
    sizes: list[int] = []
    all_have_asked = asyncio.Event()

    async def encode(batch: Sequence[PageViews]) -> list[torch.Tensor]:
        sizes.append(len(batch))
        await all_have_asked.wait()
        return [torch.tensor([int(page.views[0].sum())]) for page in batch]

    batches, asked = Batches(encode), pages(9)
    first = asyncio.create_task(batches.encode(asked[0]))
    await wait_in_loop("the first page to be encoded", lambda: sizes, saw=lambda: first)
    others = asyncio.gather(*(batches.encode(page) for page in asked[1:]))
    await asyncio.sleep(0)  # one turn of the loop: each of them asks
    all_have_asked.set()
    answers = [await first, *await others]
    assert sizes == [1, 8] and batches.num_encoded == 9
    assert [int(answer) for answer in answers] == [int(page.views[0].sum()) for page in asked]


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), asyncio.CancelledError()])
async def test_a_batch_that_fails_or_is_given_up_is_told_to_all_and_the_next_one_goes_on(
    error: BaseException,
) -> None:
    """Whatever is under `encode` may cancel its own calls, as vLLM does when its process dies."""
    failures = [error]

    async def encode(batch: Sequence[PageViews]) -> list[torch.Tensor]:
        await asyncio.sleep(0.001)
        if failures:
            raise failures.pop()
        return [torch.zeros(1) for _ in batch]

    batches = Batches(encode, max_bytes=2 * pages(1)[0].views[0].nbytes)
    answers = await asyncio.wait_for(
        asyncio.gather(*(batches.encode(page) for page in pages(5)), return_exceptions=True), 5
    )
    assert [isinstance(answer, EngineDead) for answer in answers] == [True, True, False, False, False]
    assert batches.num_encoded == 3
