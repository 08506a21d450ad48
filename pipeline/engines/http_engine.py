"""Reading pages with a server that speaks OpenAI's chat completions, such as `vllm serve`.

A page goes out as one image in a data URL, answers come back whole. The client library does the retries, with their
waits. If the server refuses the page, the page fails; if it refuses the key or the model, the run stops; if it stays
unreachable, busy or broken beyond the retries, the engine is dead. A server that takes no log-probabilities is asked
for none. Neither the key nor the user in the URL is ever part of a message.

Does not know which model the server has, nor how its text is read.
"""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import statistics
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote, urlsplit

import openai
from PIL import Image

from quire.config.engines import HttpSettings
from quire.config.sections import EngineSettings
from quire.config.settings import Settings, api_key
from quire.engines.bounded import is_being_cancelled
from quire.engines.page_content import content_of
from quire.errors import ConfigError, EngineAway, EngineDead, EngineFailure, PageRejected
from quire.processes.cores import num_cores
from quire.records import PageImage, Pixels, Recognition, Request
from quire.secrets import redacted

_log = logging.getLogger(__name__)

_OF_THE_PAGE = frozenset({400, 413, 422})
_OF_THE_KEY = frozenset({401, 403})
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_LISTS_NO_MODELS = frozenset({404, 405, 501})
_NOT_REACHED = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout"})  # of whichever httpx the client has
_MAX_MESSAGE_CHARS = 300
_MAX_MODELS_SHOWN = 5


class HttpEngine:
    """Fulfils `LocalEngine`. `api_key` is empty where the server asks for none."""

    def __init__(self, engine: EngineSettings, http: HttpSettings, api_key: str = "") -> None:
        self._engine = engine
        self._http = http
        self._url = redacted(http.url)  # for messages
        self._secrets = (api_key, *_password_of(http.url))
        self._client = openai.AsyncOpenAI(
            base_url=http.url,
            api_key=api_key or "none",
            max_retries=http.max_retries,
            timeout=openai.Timeout(http.read_timeout_s, connect=http.connect_timeout_s),
        )
        self._encoders = ThreadPoolExecutor(num_cores(), thread_name_prefix="encode")
        self._running: set[asyncio.Task[Recognition]] = set()
        self._is_closed = False
        self._takes_logprobs: bool | None = None  # until it has read a page

    @classmethod
    async def start(cls, engine: EngineSettings, http: HttpSettings, api_key: str = "") -> HttpEngine:
        """The engine, once its server answers, within half of `engine.start_timeout_s`; it need not list its models.
        Raises `EngineDead` for one that does not answer, and `EngineFailure` if it refuses the key."""
        made = cls(engine, http, api_key)
        try:
            await made._knock()
        except BaseException:
            await made.close()
            raise
        return made

    @property
    def window(self) -> int:
        return self._http.window

    async def recognize(
        self, page: PageImage, request: Request, let_go: Callable[[], None] = lambda: None
    ) -> Recognition:
        """Send the page's last view without its padding.

        Raises `PageRejected` (refused, content_filter), `EngineDead`, or `EngineFailure` where every page would fail.
        """
        if self._is_closed:
            raise EngineAway("the engine is closed")
        task = asyncio.create_task(self._ask(page, request))
        self._running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if self._is_closed and task.cancelled() and not is_being_cancelled():
                raise EngineDead("the engine was closed") from None
            raise
        finally:
            self._running.discard(task)

    async def close(self) -> None:
        """Give up what is in flight. Safe to call twice."""
        self._is_closed = True
        for task in self._running:
            task.cancel()
        self._encoders.shutdown(wait=False, cancel_futures=True)
        await self._client.close()

    async def _knock(self) -> None:
        try:
            await self._models()
        except openai.APIStatusError as exc:
            if exc.status_code not in _LISTS_NO_MODELS:
                raise await self._refusal(exc) from None
        except (openai.OpenAIError, ValueError) as exc:
            raise EngineDead(
                f"{self._no_answer(exc)} (start one with `vllm serve {self._engine.model}`, or name another: http.url)"
            ) from None

    async def _models(self) -> list[str]:
        """Asked once, with a short timeout: a caller that wants to wait asks again."""
        seconds = min(self._http.connect_timeout_s, self._engine.start_timeout_s / 2)
        models = await self._client.with_options(max_retries=0, timeout=seconds).models.list()
        return [model.id for model in models.data]

    async def _ask(self, page: PageImage, request: Request) -> Recognition:
        loop, picture = asyncio.get_running_loop(), content_of(page)
        url = await loop.run_in_executor(self._encoders, _data_url, picture, self._http.image_format)
        body = self._body(url, page, request)
        try:
            return _recognition(await self._complete(body, max_retries=0))
        except (openai.OpenAIError, ValueError) as exc:
            error, had_page = exc, not _is_turned_away(exc)
        if _is_transient(error) and self._http.max_retries:
            # The client reports its last try only: a server that this page ended is reported as unreachable.
            try:
                return _recognition(await self._complete(body, self._http.max_retries - 1))
            except (openai.OpenAIError, ValueError) as exc:
                error, had_page = exc, had_page or not _is_turned_away(exc)
        raise await self._meaning(error, had_page) from None  # its cause holds the request, with the key

    async def _meaning(self, exc: Exception, had_page: bool) -> Exception:
        """`had_page`: whether the server may have seen the page, at whichever try."""
        meant = (
            await self._refusal(exc)
            if isinstance(exc, openai.APIStatusError)
            else EngineDead(self._no_answer(exc))
        )
        return EngineAway(str(meant)) if type(meant) is EngineDead and not had_page else meant

    async def _complete(self, body: dict[str, Any], max_retries: int) -> Any:
        """Not every server knows log-probabilities: one that refuses pages before it has read any is asked without
        them."""
        completions = self._client.with_options(max_retries=max_retries).chat.completions
        if self._takes_logprobs is not None:
            return await completions.create(**body, logprobs=self._takes_logprobs or openai.omit)
        try:
            completion = await completions.create(**body, logprobs=True)
            self._takes_logprobs = True
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            completion = await completions.create(**body)
            if self._takes_logprobs is None:
                self._takes_logprobs = False
                _log.warning("%s takes no logprobs: results will not say how sure it was", self._url)
        return completion

    def _body(self, url: str, page: PageImage, request: Request) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}}]
        if request.prompt:
            content.append({"type": "text", "text": request.prompt})
        return {
            "model": self._engine.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": request.temperature,
            "top_p": self._engine.top_p,
            "max_tokens": request.max_output_tokens,
            "seed": zlib.crc32(page.sha256.encode()),  # the page alone decides what is drawn
            "extra_body": self._extras(),
        }

    def _extras(self) -> dict[str, Any]:
        """Parameters that only vLLM knows; sent only for models that need them. The guard acts if the server loads
        one."""
        extras: dict[str, Any] = {}
        if self._engine.parser == "grounding":
            extras["skip_special_tokens"] = False
        if self._engine.ngram_size:
            extras["vllm_xargs"] = {
                "ngram_size": self._engine.ngram_size,
                "window_size": self._engine.ngram_window,
                "whitelist_token_ids": list(self._engine.ngram_whitelist),
            }
        return extras

    async def _refusal(self, exc: openai.APIStatusError) -> Exception:
        words = self._words(exc)
        if exc.status_code in _OF_THE_PAGE:
            return PageRejected("refused", words)
        if exc.status_code in _OF_THE_KEY:
            return EngineFailure(f"{self._url} refuses the key in {self._http.api_key_variable}: {words}")
        if exc.status_code == _NOT_FOUND:
            return EngineFailure(f"{self._url} has no model {self._engine.model}{await self._instead()}: {words}")
        return EngineDead(f"{self._url} fails with {exc.status_code}: {words}")

    async def _instead(self) -> str:
        """What the server has in place of the model, in words."""
        try:
            models = await self._models()
        except (openai.OpenAIError, ValueError):
            models = []
        if not models or self._engine.model in models:
            return ", or takes no chat completions at that address (does it end in /v1?)"
        more = ", …" if len(models) > _MAX_MODELS_SHOWN else ""
        return f"; it has {', '.join(models[:_MAX_MODELS_SHOWN])}{more} (set engine.model to one of them)"

    def _no_answer(self, exc: Exception) -> str:
        return f"no answer from {self._url}: {self._words(exc)}"

    def _words(self, exc: Exception) -> str:
        """What happened, for a person; secrets that the server repeats are removed."""
        words = str(exc.__cause__ or exc) if isinstance(exc, openai.APIConnectionError) else str(exc)
        words = words or type(exc.__cause__ or exc).__name__
        return redacted(words, self._secrets)[:_MAX_MESSAGE_CHARS]


def _is_turned_away(exc: Exception) -> bool:
    """Whether the server, if it is running at all, has not looked at the page."""
    if isinstance(exc, openai.APIStatusError):
        return exc.status_code == _TOO_MANY_REQUESTS
    return type(exc.__cause__).__name__ in _NOT_REACHED


def _is_transient(exc: Exception) -> bool:
    """Whether the client itself would retry."""
    if isinstance(exc, openai.APIStatusError):
        return exc.status_code in (408, 409, _TOO_MANY_REQUESTS) or exc.status_code >= 500
    return isinstance(exc, openai.APIConnectionError)


def _password_of(url: str) -> tuple[str, ...]:
    """As it is written there and as it is sent; a user without a password may be a token. Raises `ConfigError` for an
    invalid URL, such as one whose password is not percent-encoded."""
    try:
        parts = urlsplit(url)
        word, _ = parts.password or parts.username or "", parts.port
    except ValueError:
        raise ConfigError(
            f"http.url is no URL: {url}: write http://host:port/v1, and percent-encode what is special in a password"
        ) from None
    return word, unquote(word)


def _recognition(completion: Any) -> Recognition:
    """Raises `EngineDead` for an answer that is no completion: libraries pass on whatever JSON they got."""
    try:
        (choice,) = completion.choices
        text, finish_reason = choice.message.content or "", choice.finish_reason
        num_tokens = completion.usage.completion_tokens if completion.usage else 0
        tokens = (choice.logprobs and choice.logprobs.content) or []
        mean_logprob = statistics.fmean(token.logprob for token in tokens) if tokens else None
    except (AttributeError, TypeError, ValueError) as exc:
        raise EngineDead("the server's answer is no chat completion") from exc
    if finish_reason not in ("stop", "length"):
        raise PageRejected(str(finish_reason), f"the server ended its answer with {finish_reason}")
    return Recognition(text, finish_reason, num_tokens, mean_logprob)


def _data_url(pixels: Pixels, image_format: str) -> str:
    buffer = io.BytesIO()
    options = {"compress_level": 1} if image_format == "png" else {"quality": 95, "subsampling": 0}
    Image.fromarray(pixels).save(buffer, image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getbuffer()).decode('ascii')}"


async def start(settings: Settings, _: int) -> HttpEngine:
    """The engine `http` of the settings, with the key of this machine's environment."""
    return await HttpEngine.start(settings.engine, settings.http, api_key(settings.http))
