"""DeepSeek-OCR as a vLLM model: our vision tower in front of vLLM's DeepSeek decoder.

The class takes the place of vLLM's own (see `register`). With `limit_mm_per_prompt={"image": 0}` and
`enable_mm_embeds=True` the tower is not loaded and latents are the only pages it takes.

It does not know modes: by the time that pages come here they are views of checked sizes.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from vllm.config import VllmConfig
from vllm.model_executor.models.interfaces import SupportsMultiModal, SupportsPP
from vllm.model_executor.models.module_mapping import MultiModelKeys
from vllm.model_executor.models.utils import (
    AutoWeightsLoader,
    WeightsMapper,
    init_vllm_registered_model,
    maybe_prefix,
)
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.sequence import IntermediateTensors

from quire.deepseek_vllm.encoder import UNUSED_WEIGHTS, DeepEncoder
from quire.deepseek_vllm.inputs import IMAGE_TOKEN
from quire.deepseek_vllm.processing import LargestPage, PageInfo, PageProcessor

_TOWER_PARTS = ("sam_model.", "vision_model.", "projector.", "image_newline", "view_seperator")


@MULTIMODAL_REGISTRY.register_processor(PageProcessor, info=PageInfo, dummy_inputs=LargestPage)
class DeepseekOcr(nn.Module, SupportsMultiModal, SupportsPP):
    hf_to_vllm_mapper = WeightsMapper(
        orig_to_new_suffix=dict.fromkeys(UNUSED_WEIGHTS),
        orig_to_new_prefix={
            **{f"model.{part}": f"encoder.{part}" for part in _TOWER_PARTS},
            "model.": "language_model.model.",
            "lm_head.": "language_model.lm_head.",
        },
    )

    @classmethod
    def get_placeholder_str(cls, modality: str, i: int) -> str | None:
        return IMAGE_TOKEN if modality == "image" else None

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        self.config = config = vllm_config.model_config.hf_config
        self.dtype = vllm_config.model_config.dtype
        projector = config.projector_config
        with self._mark_tower_model(vllm_config, "image"):
            self.encoder = DeepEncoder(config.vision_config.width, projector.input_dim, projector.n_embed)
        with self._mark_language_model(vllm_config):
            self.language_model = init_vllm_registered_model(
                vllm_config=vllm_config,
                hf_config=config.text_config,
                prefix=maybe_prefix(prefix, "language_model"),
            )
        self.make_empty_intermediate_tensors = self.language_model.make_empty_intermediate_tensors

    def embed_multimodal(
        self,
        views: list[list[Tensor]] | None = None,
        tile_cols: Tensor | None = None,
        image_embeds: list[Tensor] | Tensor | None = None,
    ) -> list[Tensor]:
        """The (tokens, width) latents of the pages of one batch, which come either as views or as latents."""
        if image_embeds is not None:
            return [latents.to(self.dtype) for latents in image_embeds]
        if views is None or tile_cols is None:
            return []
        return self.encoder(views, tile_cols.tolist())

    def forward(
        self,
        input_ids: Tensor | None,
        positions: Tensor,
        intermediate_tensors: IntermediateTensors | None = None,
        inputs_embeds: Tensor | None = None,
        **_: object,
    ) -> Tensor | IntermediateTensors:
        if intermediate_tensors is not None:
            inputs_embeds = None
        return self.language_model(input_ids, positions, intermediate_tensors, inputs_embeds=inputs_embeds)

    def compute_logits(self, hidden_states: Tensor) -> Tensor | None:
        return self.language_model.compute_logits(hidden_states)

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        return AutoWeightsLoader(self).load_weights(weights, mapper=self.hf_to_vllm_mapper)

    def get_mm_mapping(self) -> MultiModelKeys:
        return MultiModelKeys.from_string_field(
            language_model="language_model", connector="encoder.projector", tower_model="encoder"
        )
