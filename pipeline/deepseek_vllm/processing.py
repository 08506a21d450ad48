"""vLLM's front end for our model: checks a request's page and counts its tokens. Refuses what would hurt the engine.

A page comes as `inputs.PageViews` and goes to the engine as it is, as uint8; latents come as (tokens, width) tensors
where the engine runs with `enable_mm_embeds`. No Hugging Face processor takes part. All that the engine gets travels as
what vLLM calls pass-through data. Both generations of its hooks hand that on: the one of 0.26, which is marked below,
and the one since 0.28.

It does not know the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from transformers import BatchFeature
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.inputs import MultiModalFieldConfig
from vllm.multimodal.parse import (
    ImageEmbeddingItems,
    MultiModalDataItems,
    MultiModalDataParser,
    ProcessorBatchItems,
)
from vllm.multimodal.processing import (
    BaseDummyInputsBuilder,
    BaseMultiModalProcessor,
    BaseProcessingInfo,
    PromptReplacement,
)

from quire.deepseek_vllm.images import views_of_image
from quire.deepseek_vllm.inputs import IMAGE_TOKEN, MAX_PAGE_TOKENS, PageViews
from quire.rasterize.modes import MAX_TILES, MODES, TILE_PX


class PageItems(ProcessorBatchItems):
    """The pages of one request, as vLLM asks for them."""

    def __init__(self, pages: Sequence[PageViews]) -> None:
        super().__init__(pages, "image")

    def get_feature_size(self, index: int) -> int:
        return self.data[index].num_tokens

    def get_item_for_hash(self, index: int) -> object:
        page = self.data[index]
        return [page.tile_cols, *page.views]

    def get_processor_data(self) -> Mapping[str, object]:
        return {}

    def get_passthrough_data(self) -> Mapping[str, object]:
        return {
            "views": [list(page.views) for page in self.data],
            "tile_cols": torch.tensor([page.tile_cols for page in self.data]),
        }


class PageParser(MultiModalDataParser):
    """Turns a request's `multi_modal_data["image"]` into items.

    For what it refuses, it raises the one error that all versions of vLLM take for the request's own fault.
    """

    def _parse_image_data(self, data: Any) -> PageItems | ImageEmbeddingItems | None:
        if data is None:
            return None
        try:
            return self._items([_as_page(item) for item in (data if isinstance(data, (list, tuple)) else [data])])
        except ValueError as exc:
            raise VLLMValidationError(str(exc)) from exc

    def _items(self, items: list[Any]) -> PageItems | ImageEmbeddingItems:
        if items and all(isinstance(item, PageViews) for item in items):
            for page in items:
                page.check()
            return PageItems(items)
        if items and all(isinstance(item, torch.Tensor) for item in items):
            for latents in items:
                _check_latents(latents)
            return ImageEmbeddingItems(items, self.expected_hidden_size)
        kinds = ", ".join(sorted({type(item).__name__ for item in items}))
        raise ValueError(f"a page is given as PageViews or as a tensor of latents, not as {kinds or 'nothing'}")


def _as_page(item: Any) -> Any:
    """What vLLM's server gives is a picture, wrapped together with the file that it came from."""
    image = getattr(item, "media", item)
    return views_of_image(image) if isinstance(image, Image.Image) else item


def _check_latents(latents: torch.Tensor) -> None:
    """Their width is checked by `ImageEmbeddingItems`."""
    if latents.ndim != 2 or not 1 <= len(latents) <= MAX_PAGE_TOKENS or not latents.is_floating_point():
        shape = " x ".join(map(str, latents.shape))
        raise ValueError(f"latents are (1 to {MAX_PAGE_TOKENS} tokens, width) floats, not {shape} {latents.dtype}")


class PageInfo(BaseProcessingInfo):
    def get_data_parser(self) -> PageParser:
        return PageParser(expected_hidden_size=self._get_expected_hidden_size())

    def get_supported_mm_limits(self) -> Mapping[str, int | None]:
        return {"image": 1}

    def get_mm_max_tokens_per_item(self, seq_len: int, mm_counts: Mapping[str, int]) -> Mapping[str, int]:
        return {"image": MAX_PAGE_TOKENS}

    @cached_property
    def image_token_id(self) -> int:
        (token_id,) = self.get_tokenizer().encode(IMAGE_TOKEN, add_special_tokens=False)
        return int(token_id)


class LargestPage(BaseDummyInputsBuilder):
    """The page with which vLLM measures how much memory it needs."""

    def get_dummy_text(self, mm_counts: Mapping[str, int]) -> str:
        return IMAGE_TOKEN * mm_counts.get("image", 0)

    def get_dummy_mm_data(self, seq_len: int, mm_counts: Mapping[str, int], *options: object) -> dict[str, object]:
        side = MODES["gundam"].side_px
        tile, whole = (torch.zeros(px, px, 3, dtype=torch.uint8) for px in (TILE_PX, side))
        page = PageViews("gundam", 1, MAX_TILES, (*[tile] * MAX_TILES, whole))
        return {"image": [page] * mm_counts.get("image", 0)} if mm_counts.get("image") else {}


class PageProcessor(BaseMultiModalProcessor):
    def _get_mm_fields_config(self, *_: object, **__: object) -> Mapping[str, MultiModalFieldConfig]:
        return {
            "views": MultiModalFieldConfig.batched("image"),
            "tile_cols": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
            "image_embeds": MultiModalFieldConfig.batched("image"),
        }

    def _get_prompt_updates(
        self, mm_items: MultiModalDataItems, *_: object, **__: object
    ) -> list[PromptReplacement]:
        pages = mm_items.get_items("image", (PageItems, ImageEmbeddingItems))
        token = self.info.image_token_id
        return [PromptReplacement("image", [token], lambda index: [token] * pages.get_feature_size(index))]

    def _postprocess_prompt(self, prompt: list[int]) -> list[int]:
        """The model was trained with a first token that not every tokenizer file adds by itself."""
        first = self.info.get_tokenizer().bos_token_id
        return prompt if first is None or prompt[:1] == [first] else [first, *prompt]

    # From here on the hooks of vLLM 0.26, which later versions never call.

    def _call_hf_processor(self, prompt: str, *_: object, **__: object) -> BatchFeature:
        ids = self.info.get_tokenizer().encode(prompt)
        return BatchFeature({"input_ids": [self._postprocess_prompt(ids)]})

    def _apply_hf_processor_tokens_only(self, prompt_tokens: list[int]) -> list[int]:
        return self._postprocess_prompt(prompt_tokens)

    def _hf_processor_applies_updates(self, *_: object, **__: object) -> bool:
        return False
