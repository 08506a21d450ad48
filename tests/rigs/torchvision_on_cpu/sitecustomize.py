"""Lets torchvision's CUDA build be imported beside a CPU build of PyTorch: declares the two operators that it expects.

On PYTHONPATH, Python runs this first in every process, vLLM's children included. Only the comparison with vLLM's own
class (`make stock`) has it there; nothing of ours imports torchvision.
"""

from __future__ import annotations

import importlib.abc
import sys
from typing import Any

_KEPT: list[Any] = []  # the declarations last as long as the library object


class _BeforeTorchvision(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            from torch import library

            fragment = library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                fragment.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _KEPT.append(fragment)


sys.meta_path.insert(0, _BeforeTorchvision())
