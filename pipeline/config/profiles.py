"""Models as data: which image and prompt each one needs, and how its answer is read.

A profile is a set of defaults for `[engine]`; `engine.profile` names it, and explicit settings win. Prompts are the
models' own, letter for letter: the models were trained on them. Each profile names its source; `note` says what could
not be checked there. Nothing here loads a model or knows an engine; `quire.parse` reads by `parser`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Parser = Literal["grounding", "markdown", "front_matter", "layout_json"]
"""The format of a completion; see `pipeline/parse/__init__.py`."""


@dataclass(frozen=True, slots=True)
class Guard:
    """No n-gram of `ngram_size` tokens may appear twice within the last `window` tokens of an answer, unless it
    ends in one of `whitelist`."""

    ngram_size: int
    window: int
    whitelist: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """One model. `modes` is its ladder (the modes to try, one after the other) if Quire lays out the views;
    `server_modes`, if a server takes one image of the page. With `is_chat` the model takes the messages of a chat,
    otherwise a raw prompt. `revision` is a commit of its repository; empty: what is installed, and the run records
    it."""

    name: str
    model: str
    source: str
    prompt: str
    parser: Parser
    server_modes: tuple[str, ...]
    modes: tuple[str, ...] = ()
    is_chat: bool = True
    temperature: float = 0.0
    top_p: float = 1.0
    max_output_tokens: int = 8192
    guard: Guard | None = None
    licence: str = ""
    revision: str = ""
    note: str = ""

    def engine_defaults(self, is_server: bool) -> dict[str, Any]:
        """The defaults of `[engine]` with this profile. They depend on who runs the model: Quire or a server."""
        guard = self.guard or Guard(0, 0)
        return {
            "model": self.model,
            "model_revision": self.revision,
            "prompt": self.prompt,
            "modes": self.server_modes if is_server or self.is_chat else self.modes,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_output_tokens": self.max_output_tokens,
            "parser": self.parser,
            "ngram_size": guard.ngram_size,
            "ngram_window": guard.window,
            "ngram_whitelist": guard.whitelist,
        }


_TABLE_CELLS = (128821, 128822)  # <td>, </td> in DeepSeek-OCR's vocabulary: empty cells repeat legitimately

# The image's place is written out, because otherwise vLLM would add a line break after it
# (https://github.com/rednote-hilab/dots.ocr, dots_ocr/model/inference.py).
_DOTS_PROMPT = """\
<|img|><|imgpad|><|endofimg|>Please output the layout information from the PDF image, including each layout \
element's bbox, its category, and the corresponding text content within the bbox.

1. Bbox format: [x1, y1, x2, y2]

2. Layout Categories: The possible categories are ['Caption', 'Footnote', 'Formula', 'List-item', 'Page-footer', \
'Page-header', 'Picture', 'Section-header', 'Table', 'Text', 'Title'].

3. Text Extraction & Formatting Rules:
    - Picture: For the 'Picture' category, the text field should be omitted.
    - Formula: Format its text as LaTeX.
    - Table: Format its text as HTML.
    - All Others (Text, Title, etc.): Format their text as Markdown.

4. Constraints:
    - The output text must be the original text from the image, with no translation.
    - All layout elements must be sorted according to human reading order.

5. Final Output: The entire output must be a single JSON object.
"""

_OLMOCR_PROMPT = (
    "Attached is one page of a document that you must process. Just return the plain text representation of this "
    "document as if you were reading it naturally. Convert equations to LateX and tables to HTML.\n"
    "If there are any figures or charts, label them with the following markdown syntax "
    "![Alt text describing the contents of the figure](page_startx_starty_width_height.png)\n"
    "Return your output as markdown, with a front matter section on top specifying values for the "
    "primary_language, is_rotation_valid, rotation_correction, is_table, and is_diagram parameters."
)

_GENERIC_PROMPT = (
    "Transcribe this page of a document into Markdown, in the order in which a person would read it. Write tables "
    "as HTML and formulas as LaTeX. Leave nothing out and add nothing: no comments, no code fence around the whole."
)

_ALL = (
    Profile(
        "deepseek-ocr",
        "deepseek-ai/DeepSeek-OCR",
        source="https://huggingface.co/deepseek-ai/DeepSeek-OCR",
        prompt="<image>\n<|grounding|>Convert the document to markdown.",
        parser="grounding",
        modes=("base", "gundam"),
        server_modes=("page150",),
        is_chat=False,
        # https://docs.vllm.ai/projects/recipes/en/latest/DeepSeek/DeepSeek-OCR.html
        guard=Guard(30, 90, _TABLE_CELLS),
        licence="MIT",
    ),
    Profile(
        "deepseek-ocr-2",
        "deepseek-ai/DeepSeek-OCR-2",
        source="https://huggingface.co/deepseek-ai/DeepSeek-OCR-2",
        prompt="<image>\n<|grounding|>Convert the document to markdown. ",
        parser="grounding",
        modes=("page150",),
        server_modes=("page150",),
        is_chat=False,
        # https://github.com/vllm-project/recipes/blob/main/DeepSeek/DeepSeek-OCR-2.md
        guard=Guard(30, 90, _TABLE_CELLS),
        note="vLLM cuts its tiles of 768 px itself, from one image of the page. Licence not checked.",
    ),
    Profile(
        "unlimited-ocr",
        "baidu/Unlimited-OCR",
        source="https://github.com/baidu/Unlimited-OCR",
        prompt="<image>document parsing.",
        parser="grounding",
        modes=("page150",),
        server_modes=("page150",),
        is_chat=False,
        guard=Guard(35, 128),
        note="vLLM cuts its tiles (up to 32) itself, from one image of the page. Licence not checked.",
    ),
    Profile(
        "olmocr-2",
        "allenai/olmOCR-2-7B-1025-FP8",
        source="https://huggingface.co/allenai/olmOCR-2-7B-1025-FP8",
        # build_no_anchoring_v4_yaml_prompt of https://github.com/allenai/olmocr; so is the limit of 8000 tokens
        prompt=_OLMOCR_PROMPT,
        parser="front_matter",
        server_modes=("side1288", "side1288@0.2"),
        max_output_tokens=8000,
        licence="Apache-2.0",
        note="A page that it calls rotated is not turned and read again, as its own toolkit does.",
    ),
    Profile(
        "dots-ocr",
        "rednote-hilab/dots.ocr",
        source="https://github.com/rednote-hilab/dots.ocr",
        prompt=_DOTS_PROMPT,
        parser="layout_json",
        server_modes=("dpi200x28",),
        temperature=0.1,
        top_p=0.9,
        max_output_tokens=16384,
        licence="MIT",
        note="Prompt, sampling, sides in multiples of 28 px and at most 11,289,600 px are its repository's.",
    ),
    Profile(
        "lightonocr-2",
        "lightonai/LightOnOCR-2-1B",
        source="https://huggingface.co/lightonai/LightOnOCR-2-1B",
        prompt="",  # the image alone: it tends to repeat a prompt in its answer
        parser="markdown",
        server_modes=("side1540",),
        temperature=0.2,
        top_p=0.9,
        max_output_tokens=4096,
        licence="Apache-2.0",
        note="Image size, sampling and the empty prompt are a host's copy of its model card "
        "(https://docs.doubleword.ai/inference-api/models/lightonai-lightonocr-2-1b-bbox-soup).",
    ),
    Profile(
        "paddleocr-vl",
        "PaddlePaddle/PaddleOCR-VL",
        source="https://docs.vllm.ai/projects/recipes/en/latest/PaddlePaddle/PaddleOCR-VL.html",
        prompt="OCR:",
        parser="markdown",
        server_modes=("dpi144x28",),
        licence="Apache-2.0",
        note="Made to read single elements that a layout model cuts out; here it is given whole pages. Its limit of "
        "pixels was not checked.",
    ),
    Profile(
        "glm-ocr",
        "zai-org/GLM-OCR",
        source="https://huggingface.co/zai-org/GLM-OCR",
        prompt="Text Recognition:",
        parser="markdown",
        server_modes=("dpi144x28",),
        licence="MIT",
        note="Its own pipeline cuts out regions first; here it is given whole pages. Its limit of pixels was not "
        "checked.",
    ),
    Profile(
        "glyph",
        "zai-org/Glyph",
        source="https://github.com/vllm-project/recipes/blob/main/GLM/Glyph.md",
        prompt=_GENERIC_PROMPT,
        parser="markdown",
        server_modes=("dpi144x28",),
        note="Made to answer questions about rendered text; it has no prompt for transcription, so the generic one "
        "is used. It thinks before it answers: serve it with --reasoning-parser glm45. Licence not checked.",
    ),
    Profile(
        "generic",
        "",
        source="",
        prompt=_GENERIC_PROMPT,
        parser="markdown",
        server_modes=("dpi144x28",),
        note="Any chat model that sees images; say which with engine.model.",
    ),
)

PROFILES = {profile.name: profile for profile in _ALL}
