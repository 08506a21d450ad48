"""A model's checkpoint as files: where it is, which one it is, and what its configuration says.

Knows Hugging Face's hub through the hub's own client, and no engine.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from quire.config.extras import GPU, install
from quire.errors import ConfigError, MissingDependency

_WANTED_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")  # no code: none of it is run
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_BLOCK_BYTES = 1 << 24


def local_checkpoint(model: str, revision: str) -> Path:
    """The folder of a model: as it is, or fetched from the hub (what is there already is not fetched again).

    Raises `ConfigError` if there is none.
    """
    if folder := _named_folder(model):
        return folder
    try:
        from huggingface_hub import snapshot_download
    except ImportError as exc:
        raise MissingDependency(f"models from the hub need huggingface_hub: {install([GPU])}") from exc
    try:
        return Path(snapshot_download(model, revision=revision or None, allow_patterns=list(_WANTED_FILES)))
    except Exception as exc:  # border to the hub: without an answer, its client raises any HTTP library's error
        raise ConfigError(f"cannot get the model {model}, and there is no folder of that name: {exc}") from exc


def pin_revision(model: str, revision: str) -> str:
    """The commit that a branch, a tag or no revision stands for now; for a folder, what its files say.

    Asks the hub, or looks at what was fetched before where the hub does not answer. Raises `ConfigError`.
    """
    if folder := _named_folder(model):
        return revision_of(folder)
    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    try:
        from huggingface_hub import HfApi, snapshot_download
    except ImportError as exc:
        raise MissingDependency(
            f"finding a model's revision needs huggingface_hub: {install([GPU])}, or set engine.model_revision "
            "to a commit"
        ) from exc
    try:
        return HfApi().model_info(model, revision=revision or None).sha or ""
    except Exception as exc:  # as above
        unanswered = exc
    try:
        return Path(snapshot_download(model, revision=revision or None, local_files_only=True)).name
    except Exception as exc:
        raise ConfigError(
            f"cannot find out which revision of {model} there is: the hub says nothing ({unanswered}), it was "
            "not fetched before, and there is no folder of that name. Set engine.model_revision to a commit, or "
            "engine.model to a folder"
        ) from exc


def _named_folder(model: str) -> Path | None:
    """The folder that the setting names, or None where it names a model of the hub. Raises `ConfigError` where it
    can be neither."""
    if not model:
        raise ConfigError("engine.model is empty: name a model of the hub or a folder with a checkpoint")
    if Path(model).is_dir():
        folder = Path(model).resolve()
        read_config(folder)
        return folder
    if not _HUB_NAME.fullmatch(model):
        raise ConfigError(f"engine.model: there is no folder {model}, and models of the hub are named OWNER/NAME")
    return None


def read_config(checkpoint: Path) -> dict[str, Any]:
    """`config.json`. Raises `ConfigError`."""
    try:
        config: dict[str, Any] = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{checkpoint} holds no checkpoint that can be read: {exc}") from exc
    return config


def revision_of(checkpoint: Path) -> str:
    """The hub's commit, or else the first 16 hex digits of the sha256 of all weights and of the configuration.

    Reads every byte of a checkpoint that is not the hub's: seconds for one of 7 GB.
    """
    if checkpoint.parent.name == "snapshots":
        return checkpoint.name
    digest = hashlib.sha256((checkpoint / "config.json").read_bytes())
    for path in sorted(checkpoint.glob("*.safetensors")):
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()[:16]
