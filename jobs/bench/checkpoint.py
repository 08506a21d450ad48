"""`python -m quire.jobs.bench.checkpoint DIR`: writes a DeepSeek-OCR checkpoint of random weights.

It has the published checkpoint's configuration fields, tensor names and special tokens, so whatever loads that
one loads this one. `small` takes a second and 6 MB and is for tests; `tower` has the vision tower at its true
size and the small decoder; `full` has everything at its true size (6.7 GB), to measure speed.

Its decoder says printable characters that depend on the page, or, with `loops=True`, repeats itself on every page; see
`random_weights`. It does not know vLLM.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from quire.deepseek_vllm.sizes import SIZES, Decoder, Sizes, Tower
from quire.jobs.bench.random_weights import random_weights

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
SPECIAL_TOKENS = (
    *("<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<td>", "</td>"),
    *("<|User|>", "<|Assistant|>"),
)
SHARD_BYTES = 2 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loops", action="store_true", help="a decoder that repeats itself on every page")
    parser.add_argument("--decoder-layers", type=int, help="decoder layers, instead of the size's own")
    arguments = parser.parse_args()
    sizes = SIZES[arguments.size]
    if arguments.decoder_layers:
        sizes = replace(sizes, decoder=replace(sizes.decoder, layers=arguments.decoder_layers))
    write_checkpoint(arguments.directory, sizes, seed=arguments.seed, loops=arguments.loops)
    num_bytes = sum(path.stat().st_size for path in arguments.directory.iterdir())
    print(f"{arguments.directory}: {num_bytes / 1e6:.1f} MB")


def write_checkpoint(
    directory: Path, sizes: Sizes = SIZES["small"], *, seed: int = 0, loops: bool = False
) -> Path:
    """Write configuration, tokenizer and bf16 weights into the directory, made if need be; returns it.

    The same arguments give the same bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    _write_json(directory / "config.json", config_of(sizes))
    _write_tokenizer(directory, sizes.decoder)
    _write_weights(directory, random_weights(sizes, likely_token_ids(loops), seed, loops))
    return directory


def config_of(sizes: Sizes) -> dict[str, object]:
    """`config.json` with the published checkpoint's fields; `neck_channels` alone is ours (256 if absent)."""
    return {
        "architectures": ["DeepseekOCRForCausalLM"],
        "model_type": "deepseek_vl_v2",
        "candidate_resolutions": [[1024, 1024]],
        "global_view_pos": "head",
        "tile_tag": "2D",
        "torch_dtype": "bfloat16",
        "bos_token_id": 0,
        "eos_token_id": 1,
        "language_config": _language_config(sizes.decoder),
        "projector_config": {
            "model_type": "mlp_projector",
            "projector_type": "linear",
            "input_dim": 2 * sizes.tower.downsample_channels[1],
            "n_embed": sizes.decoder.width,
        },
        "vision_config": _vision_config(sizes.tower),
    }


def _language_config(decoder: Decoder) -> dict[str, object]:
    return {
        "architectures": ["DeepseekV2ForCausalLM"],
        "bos_token_id": 0,
        "eos_token_id": 1,
        "first_k_dense_replace": 1,
        "hidden_size": decoder.width,
        "intermediate_size": decoder.dense_width,
        "kv_lora_rank": None,
        "lm_head": True,
        "max_position_embeddings": decoder.max_tokens,
        "moe_intermediate_size": decoder.expert_width,
        "n_group": 1,
        "n_routed_experts": decoder.num_experts,
        "n_shared_experts": decoder.num_shared_experts,
        "num_attention_heads": decoder.heads,
        "num_experts_per_tok": decoder.experts_per_token,
        "num_hidden_layers": decoder.layers,
        "num_key_value_heads": decoder.heads,
        "q_lora_rank": None,
        "qk_nope_head_dim": 0,  # both 0: plain multi-head attention
        "qk_rope_head_dim": 0,
        "rm_head": False,
        "topk_group": 1,
        "topk_method": "greedy",
        "torch_dtype": "bfloat16",
        "use_mla": False,
        "v_head_dim": 0,
        "vocab_size": decoder.vocab_size,
    }


def _vision_config(tower: Tower) -> dict[str, object]:
    return {
        "model_type": "vision",
        "model_name": "deeplip_b_l",
        "image_size": 1024,
        "mlp_ratio": 3.7362,
        "width": {
            "clip-l-14-224": {
                "heads": tower.clip_heads,
                "image_size": 224,
                "layers": tower.clip_layers,
                "patch_size": 14,
                "width": tower.downsample_channels[1],
            },
            "sam_vit_b": {
                "downsample_channels": list(tower.downsample_channels),
                "global_attn_indexes": list(tower.global_layers),
                "heads": tower.sam_heads,
                "layers": tower.sam_layers,
                "neck_channels": tower.neck_channels,
                "width": tower.sam_width,
            },
        },
    }


def _write_tokenizer(directory: Path, decoder: Decoder) -> None:
    """Byte-level BPE without merges: one token a byte, special tokens at the published ids in the full size."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [*SPECIAL_TOKENS]
    vocabulary = {token: index for index, token in enumerate([BOS, EOS, PAD, *alphabet])}
    vocabulary |= {token: decoder.first_special_id + index for index, token in enumerate(special)}
    unused = set(range(decoder.vocab_size)) - set(vocabulary.values())
    vocabulary |= {f"<|unused {index}|>": index for index in sorted(unused)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in (BOS, EOS, PAD, *special)])
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    _write_json(directory / "tokenizer_config.json", {**common, **names, "model_max_length": decoder.max_tokens})


def likely_token_ids(loops: bool) -> list[int]:
    """The tokens that a random decoder may say: printable ASCII, the line break, and, unless it loops, the end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Byte-level BPE writes the space and the line break as these two letters.
    printable = {chr(code) for code in range(33, 127)} | {"Ġ", "Ċ"}
    return [*([] if loops else [1]), *(3 + index for index, symbol in enumerate(alphabet) if symbol in printable)]


def _write_weights(directory: Path, weights: Iterator[tuple[str, torch.Tensor]]) -> None:
    """Files of at most 2 GiB (one tensor may go over), and the index that says where each tensor is."""
    index: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    num_shards = num_bytes = total_bytes = 0
    for name, tensor in weights:
        if shard and num_bytes + tensor.nbytes > SHARD_BYTES:
            num_shards += 1
            save_file(shard, directory / f"model-{num_shards:05}.safetensors", {"format": "pt"})
            shard, num_bytes = {}, 0
        shard[name] = tensor
        index[name] = f"model-{num_shards + 1:05}.safetensors"
        num_bytes, total_bytes = num_bytes + tensor.nbytes, total_bytes + tensor.nbytes
    save_file(shard, directory / f"model-{num_shards + 1:05}.safetensors", {"format": "pt"})
    index_file = {"metadata": {"total_size": total_bytes}, "weight_map": index}
    _write_json(directory / "model.safetensors.index.json", index_file)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
