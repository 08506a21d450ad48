"""The random checkpoint has the published one's names, and says the same whenever it is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open
from tokenizers import Tokenizer

from quire.deepseek_vllm.sizes import SIZES, Decoder, Sizes
from quire.jobs.bench.checkpoint import config_of, write_checkpoint
from quire.jobs.bench.random_weights import random_weights


def test_it_is_small(small_checkpoint: Path) -> None:
    assert 4e6 < sum(path.stat().st_size for path in small_checkpoint.iterdir()) < 8e6


def test_the_index_names_every_tensor(small_checkpoint: Path) -> None:
    index = json.loads((small_checkpoint / "model.safetensors.index.json").read_text())
    with safe_open(small_checkpoint / "model-00001.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(index["weight_map"])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.sam_model.blocks.11.attn.rel_pos_h", (127, 64)),
        ("model.sam_model.blocks.10.attn.rel_pos_w", (27, 64)),
        ("model.sam_model.net_3.weight", (1024, 512, 3, 3)),
        ("model.vision_model.transformer.layers.23.self_attn.qkv_proj.weight", (3072, 1024)),
        ("model.projector.layers.weight", (256, 2048)),
        ("model.view_seperator", (256,)),
        ("model.layers.1.mlp.experts.3.down_proj.weight", (256, 128)),
        ("lm_head.weight", (288, 256)),
    ],
)
def test_the_tower_has_the_published_names_and_sizes(
    tower_shapes: dict[str, tuple[int, ...]], name: str, shape: tuple[int, ...]
) -> None:
    assert tower_shapes[name] == shape


@pytest.fixture(scope="module")
def tower_shapes() -> dict[str, tuple[int, ...]]:
    shapes = {name: tuple(tensor.shape) for name, tensor in random_weights(SIZES["tower"], [], 0, False)}
    tower = [size for name, size in shapes.items() if "sam_model" in name or "vision_model" in name]
    assert 3.9e8 < sum(_count(shape) for shape in tower) < 4.1e8  # SAM-B and CLIP-L
    return shapes


def _count(shape: tuple[int, ...]) -> int:
    return shape[0] * _count(shape[1:]) if shape else 1


def test_special_tokens_have_the_published_ids(tmp_path: Path) -> None:
    tiny = Sizes(SIZES["small"].tower, Decoder(width=8, layers=1, heads=1, dense_width=8))
    write_checkpoint(tmp_path, tiny)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokenizer.encode("<image>").ids == [0, 128815]
    assert [tokenizer.token_to_id(cell) for cell in ("<td>", "</td>")] == [128821, 128822]
    assert tokenizer.get_vocab_size() == 129_280


def test_text_survives_the_tokenizer(small_checkpoint: Path) -> None:
    tokenizer = Tokenizer.from_file(str(small_checkpoint / "tokenizer.json"))
    text = "<image>\n<|grounding|>Größe 10² – 数"
    first, *ids = tokenizer.encode(text).ids
    assert first == 0
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert max(ids) < SIZES["small"].decoder.vocab_size


def test_the_same_seed_gives_the_same_bytes(small_checkpoint: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "same")
    write_checkpoint(tmp_path / "other", seed=1)
    first, same, other = (
        (folder / "model-00001.safetensors").read_bytes()
        for folder in (small_checkpoint, tmp_path / "same", tmp_path / "other")
    )
    assert first == same
    assert first != other


def test_the_full_size_is_the_published_one() -> None:
    language = config_of(SIZES["full"])["language_config"]
    assert isinstance(language, dict)
    assert language["hidden_size"] == 1280 and language["n_routed_experts"] == 64
