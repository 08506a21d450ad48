"""One page read by RapidOCR, in a child process: pixels in, labelled blocks out.

The only module that imports rapidocr. Its detector and recogniser are called separately: between the two, boxes that
join columns have to be cut. These calls are not part of rapidocr's documented interface, hence the pinned version. The
default models, which rapidocr carries, are the only ones used: any other version, language or size would be fetched
from the internet.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from quire.engines.cpu import straighten
from quire.engines.cpu.ink import Grey, ink_bounds
from quire.engines.cpu.pieces import as_line, cut_strip, find_pieces, is_vertical
from quire.engines.cpu.straighten import Quads, Transform
from quire.engines.cpu.strips import is_strip, join_pieces, pieces_of
from quire.page_layout.blocks import Piece, arrange
from quire.page_layout.lines import Line
from quire.records import Pixels

_MAX_SIDE_PX = 2000  # of the detector's input, rapidocr's own limit
_MAX_AREA_PX = 3_000_000  # of the detector's input: A3 at 150 dpi; holds the process below 1.3 GiB
_MIN_SIDE_PX = 736  # smaller pages are padded to the size the detector knows, and not blown up
_LONE_SHARE = 0.25  # of a page: if its ink lies in a smaller part, the detector is run again on that part
_LONE_MARGIN_PX = 60
_STRIP_HEIGHT_PX = 48  # of the recogniser's input
_OPENVINO_STEP = 128  # OpenVINO compiles, and keeps, kernels for each size of input: so there are fewer sizes
_LEGIBLE_SCORE = 0.5  # rapidocr's own `text_score`
_CHARS_PER_SQUARE = 0.5  # a legible line has that many characters per line height of length: Latin script
# has 2-3, Chinese 1.3, a script that the recogniser does not know less than 0.45
_DOUBTFUL_SCORE = 0.85  # below that the page may be upside down; upright pages are at 0.9 and more
_SAMPLE = 6  # lines that vote on the direction of a page

Result = tuple[str, float]
"""Text, and its score."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Upright lines, and how to get back to the page as it was given."""

    lines: tuple[Line, ...]
    transform: Transform
    height_px: int


class RapidOcrWorker:
    """`settings`: {"backend": "onnxruntime" or "openvino"}. See `ChildProcess` for the rest."""

    def __init__(self, settings: dict[str, Any], arena: Pixels) -> None:
        self._arena = arena
        self._step = _OPENVINO_STEP if settings["backend"] == "openvino" else 0
        engine = _load(settings["backend"])
        self._detector = engine._load_det_model()
        self._recognizer = engine._load_rec_model()

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Request: the page's height and width in pixels. Reply: `num_boxes`, `legible_share` (of the length
        of all detected lines), `blocks` and `lines` in reading order, and `scores`."""
        height, width = int(request["height_px"]), int(request["width_px"])
        page = self._arena[: height * width * 3].reshape(height, width, 3)[:, :, ::-1]  # the models want BGR
        quads = self._find_lines(page)
        if not len(quads):
            return {"num_boxes": 0, "legible_share": 1.0, "blocks": [], "lines": [], "scores": []}
        reading = self._read(page, quads)
        legible = [line for line in reading.lines if _is_legible(line)]
        pieces = arrange(legible, reading.height_px)
        ordered = [line for piece in pieces for line in piece.lines]
        return {
            "num_boxes": len(quads),
            "legible_share": _length(legible) / max(1e-6, _length(reading.lines)),
            "blocks": [_block(piece, reading.transform, width, height) for piece in pieces],
            "lines": [line.text for line in ordered],
            "scores": [line.score for line in ordered],
        }

    def _find_lines(self, page: Pixels) -> Quads:
        quads = self._detect_strip(page) if is_strip(page) else self._detect(page)
        return quads if len(quads) else self._detect_closely(page)

    def _detect(self, page: Pixels) -> Quads:
        height, width = page.shape[:2]
        scale = min(1.0, _MAX_SIDE_PX / max(height, width), math.sqrt(_MAX_AREA_PX / (height * width)))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(page, size, interpolation=cv2.INTER_AREA) if scale < 1 else page
        width_px, height_px = (max(_MIN_SIDE_PX, _round_up(side, self._step)) for side in size)
        missing = (0, height_px - size[1], 0, width_px - size[0])
        padded = cv2.copyMakeBorder(small, *missing, cv2.BORDER_REPLICATE)
        boxes = self._detector(padded).boxes
        if boxes is None:
            return np.zeros((0, 4, 2), np.float32)
        quads: Quads = np.asarray(boxes, np.float32) / np.float32(scale)
        return quads

    def _detect_strip(self, page: Pixels) -> Quads:
        """Detect piece by piece, on a page that would lose most of its pixels if it were scaled to fit."""
        return join_pieces([(piece, self._detect(piece.of(page))) for piece in pieces_of(page)])

    def _detect_closely(self, page: Pixels) -> Quads:
        """The detector misses a lone word on a wide empty page, but finds it in a part of the page around it."""
        grey: Grey = np.asarray(cv2.cvtColor(page, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        bounds = ink_bounds(grey)
        if bounds is None:
            return np.zeros((0, 4, 2), np.float32)
        x0, y0, x1, y1 = bounds
        if (x1 - x0) * (y1 - y0) > _LONE_SHARE * grey.size:
            return np.zeros((0, 4, 2), np.float32)
        left, top = max(0, x0 - _LONE_MARGIN_PX), max(0, y0 - _LONE_MARGIN_PX)
        part = page[top : y1 + _LONE_MARGIN_PX, left : x1 + _LONE_MARGIN_PX]
        quads: Quads = self._detect(part) + np.array([left, top], np.float32)
        return quads

    def _read(self, page: Pixels, quads: Quads) -> Reading:
        """The page turned upright: the way in which its lines read best."""
        tall = straighten.is_tall(quads)
        if tall.mean() > 0.5:
            sample = _longest(quads[tall])
            if self._stand_upright(page, sample):
                return self._read_turned(page, quads, 0)
            left, right = self._score(page, sample, 0), self._score(page, sample, 2)
            if right <= left and self._is_vertical_writing(page, sample):
                return self._read_turned(page, quads, 0)
            return self._read_on_its_side(page, 3 if right > left else 1)
        reading = self._read_turned(page, quads, 0)
        if _mean_score(reading.lines) >= _DOUBTFUL_SCORE:
            return reading
        sample = _longest(quads)
        upright, turned = self._score(page, sample, 0), self._score(page, sample, 2)
        return self._read_turned(page, quads, 2) if turned > upright + 0.05 else reading

    def _score(self, page: Pixels, quads: Quads, num_quarters: int) -> float:
        """Mean score of some lines, cut out and turned by quarters."""
        strips = [np.rot90(straighten.cut_out(page, quad), num_quarters) for quad in quads]
        return float(np.mean([score for _, score in self._recognize(strips)]))

    def _is_vertical_writing(self, page: Pixels, quads: Quads) -> bool:
        """Chinese and Japanese columns, whose characters stand upright, are read as they are."""
        text = "".join(text for text, _ in self._recognize([straighten.cut_out(page, q) for q in quads]))
        return sum("\u3040" <= char <= "\u9fff" for char in text) > 0.5 * len(text)

    def _read_on_its_side(self, page: Pixels, num_quarters: int) -> Reading:
        """With boxes that are found on the upright page: the detector misses single characters that lie on their
        side."""
        height, width = page.shape[:2]
        found = self._find_lines(np.ascontiguousarray(np.rot90(page, num_quarters)))
        back = straighten.inverse(straighten.quarter_turns(width, height, num_quarters))
        return self._read_turned(page, straighten.move(found, back), num_quarters)

    def _read_turned(self, page: Pixels, quads: Quads, num_quarters: int) -> Reading:
        image, moved, transform = straighten.turn(page, quads, num_quarters)
        grey: Grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        pieces = find_pieces(image, grey, moved)
        results = self._recognize([cut_strip(image, box, quad) for box, quad in pieces])
        boxes = [box for box, _ in pieces]
        lines = []
        for (box, quad), result in zip(pieces, results, strict=True):
            if is_vertical(quad):
                level = self._level(image, quad, result)
                quad, result = (None, level) if level else (quad, self._downwards(image, quad, result))
            lines.append(as_line(*result, box, quad, grey, boxes))
        return Reading(tuple(lines), transform, image.shape[0])

    def _stand_upright(self, page: Pixels, tall: Quads) -> bool:
        """Whether most of some tall boxes are narrow characters on an upright page, as in a table of ones."""
        upwards = self._recognize([straighten.cut_out(page, quad) for quad in tall])
        levels = [self._level(page, quad, result) for quad, result in zip(tall, upwards, strict=True)]
        return sum(level is not None for level in levels) > len(tall) / 2

    def _level(self, image: Pixels, quad: Quads, upwards: Result) -> Result | None:
        """What a tall box reads without turning it; None if it reads better up the page, as a word on its side does."""
        if not straighten.may_be_lone(quad[None])[0]:
            return None
        [level] = self._recognize([cut_strip(image, straighten.box_of(quad, image), None)])
        is_better = len(upwards[0]) <= 1 or level[1] > upwards[1]
        return level if level[0] and is_better else None

    def _downwards(self, image: Pixels, quad: Quads, upwards: Result) -> Result:
        """A margin stamp read the other way if that scores better, else `upwards`."""
        if upwards[1] >= _DOUBTFUL_SCORE:
            return upwards
        [other] = self._recognize([np.rot90(straighten.cut_out(image, quad), 2)])
        return max(upwards, other, key=lambda result: result[1])

    def _recognize(self, strips: Sequence[Pixels]) -> list[Result]:
        from rapidocr.ch_ppocr_rec.typings import TextRecInput

        if not strips:
            return []
        padded = [_pad_to_step(np.ascontiguousarray(strip), self._step) for strip in strips]
        output = self._recognizer(TextRecInput(img=padded))
        return [(text.strip(), float(score)) for text, score in zip(output.txts, output.scores, strict=True)]


def _load(backend: str) -> Any:
    """rapidocr with its default models, quiet, on one thread, and without OpenVINO's telemetry."""
    sys.modules["openvino_telemetry"] = None  # pyrefly: ignore[unsupported-operation]
    from rapidocr import EngineType, RapidOCR

    params: dict[str, Any] = {
        "Global.log_level": "critical",
        "Global.use_cls": False,
        "Det.limit_side_len": 32,  # `_detect` has sized the page already
        "Det.max_candidates": 4000,  # dense tables have more boxes than the default of 1000
        "Rec.rec_img_shape": [
            3,
            _STRIP_HEIGHT_PX,
            96,
        ],  # short cells are padded to the last number; 320 reads the same, slower
        "Rec.rec_batch_num": 1,  # more costs gigabytes and is no faster on a CPU
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.openvino.inference_num_threads": 1,
        "EngineConfig.openvino.num_streams": 1,
    }
    for part in ("Det", "Rec"):
        params[f"{part}.engine_type"] = EngineType(backend)
    engine = RapidOCR(params=params)
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    return engine


def _round_up(length: int, step: int) -> int:
    return math.ceil(length / step) * step if step else length


def _pad_to_step(strip: Pixels, step: int) -> Pixels:
    """A strip whose width, at the recogniser's height, is a multiple of `step`."""
    if not step:
        return strip
    height, width = strip.shape[:2]
    scale = height / _STRIP_HEIGHT_PX
    missing = math.ceil(_round_up(math.ceil(width / scale), step) * scale) - width
    padded = cv2.copyMakeBorder(strip, 0, 0, 0, max(0, missing), cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def _is_legible(line: Line) -> bool:
    return line.score >= _LEGIBLE_SCORE and len(line.text) >= _CHARS_PER_SQUARE * _squares(line)


def _squares(line: Line) -> float:
    """Length of a line in line heights, at least 1: a character narrower than it is high is one square."""
    along, across = (line.height, line.width) if line.is_vertical else (line.width, line.height)
    return max(1.0, along / max(1.0, across))


def _length(lines: Sequence[Line]) -> float:
    return sum(_squares(line) for line in lines)


def _mean_score(lines: Sequence[Line]) -> float:
    """Weighted by length, so that a stray mark counts little."""
    return sum(line.score * _squares(line) for line in lines) / max(1e-6, _length(lines))


def _longest(quads: Quads) -> Quads:
    sides = np.linalg.norm(quads[:, 2] - quads[:, 0], axis=1)
    return quads[np.argsort(-sides)[:_SAMPLE]]


def _block(piece: Piece, transform: Transform, width: int, height: int) -> dict[str, Any]:
    x0, y0, x1, y1 = straighten.move_box(piece.box, straighten.inverse(transform))
    box = [x0 / width, y0 / height, x1 / width, y1 / height]
    return {"label": piece.label, "text": piece.text, "box": [min(1.0, max(0.0, edge)) for edge in box]}
