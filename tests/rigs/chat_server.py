"""A server on the loopback that speaks OpenAI's chat completions for real, and breaks as it is told.

It reads no page: its answer says how large the image was. What is asked of it is kept, headers included.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(slots=True)
class ChatServer:
    """`faults` are taken one by one, the oldest first; without any left the answer is right. A fault is a status
    code, or: stall, cut (half of the body), garbage (no JSON), odd (JSON that is no completion), filtered, cut_off,
    leave (a right answer, and away from then on)."""

    url: str = ""
    faults: list[int | str] = field(default_factory=list)
    always: int | str = ""  # the fault of all answers when no other is left
    takes_logprobs: bool = True  # or whoever asks for them is told 400
    at_the_door: int = 200  # the status of an answer to who asks which models there are
    models: list[str] = field(default_factory=lambda: ["m"])
    away: threading.Event = field(default_factory=threading.Event)  # while set, everybody is told 503
    num_turned_away: int = 0  # who came while it was away, readers of pages and askers for models
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)  # set: whoever is stalled may go
    lock: threading.Lock = field(default_factory=threading.Lock)

    def turn_away(self) -> int:
        """The status for who comes while it is away, who is counted; otherwise 0. With `lock` held."""
        if not self.away.is_set():
            return 0
        self.num_turned_away += 1
        return 503

    def image(self, number: int = -1) -> Image.Image:
        """The picture of a request, decoded."""
        content = self.requests[number]["messages"][0]["content"]
        data = content[0]["image_url"]["url"].partition("base64,")[2]
        return Image.open(io.BytesIO(base64.b64decode(data)))


def completion(text: str, finish_reason: str = "stop", logprobs: bool = True) -> dict[str, Any]:
    """A whole answer as vLLM gives it."""
    tokens = [{"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []} for word in text.split()]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish_reason,
        "logprobs": {"content": tokens} if logprobs else None,
    }
    usage = {"prompt_tokens": 9, "completion_tokens": len(tokens), "total_tokens": 9 + len(tokens)}
    return {
        "id": "a",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


@contextmanager
def chat_server(*faults: int | str) -> Iterator[ChatServer]:
    """Run the server in threads of its own, on a free port."""
    state = ChatServer(faults=list(faults))

    class Handler(_Handler):
        server_state = state

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.stalled.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=60)


class _Handler(BaseHTTPRequestHandler):
    server_state: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        state = self.server_state
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with state.lock:
            state.requests.append(body)
            state.headers.append({name.lower(): value for name, value in self.headers.items()})
            fault = state.turn_away() or (state.faults.pop(0) if state.faults else state.always)
            if body.get("logprobs") and not state.takes_logprobs:
                fault = 400
            if fault == "leave":
                state.away.set()
        with contextlib.suppress(ConnectionError):  # the client went away, as clients do
            self._answer(fault, body)

    def do_GET(self) -> None:
        """The models there are: how a client sees that somebody is there."""
        state = self.server_state
        with state.lock:
            fault = state.turn_away() or state.at_the_door
        models = [{"id": name, "object": "model", "created": 1, "owned_by": "nobody"} for name in state.models]
        found = {"object": "list", "data": models}
        with contextlib.suppress(ConnectionError):
            self._send(fault, found if fault == 200 else {"error": {"message": f"status {fault} as told"}})

    def _answer(self, fault: int | str, body: dict[str, Any]) -> None:
        if self.path != "/v1/chat/completions":
            return self._send(404, {"error": {"message": f"no {self.path}"}})
        if isinstance(fault, int):
            key = self.headers["Authorization"]
            return self._send(fault, {"error": {"message": f"status {fault} as told, with {key}"}})
        answer = json.dumps(completion(f"# A page of {self.server_state.image(-1).size}\n\nText")).encode()
        match fault:
            case "stall":
                self.server_state.stalled.wait(30)
                self.close_connection = True
            case "cut":
                self._head(200, len(answer))
                self.wfile.write(answer[: len(answer) // 2])
                self.close_connection = True
            case "garbage":
                self._send(200, b'{"choices": [')
            case "odd":
                self._send(200, {"choices": []})
            case "filtered":
                self._send(200, completion("", "content_filter"))
            case "cut_off":
                self._send(200, completion("Cut in the mid", "length", logprobs=False))
            case _:
                self._send(200, answer)

    def _send(self, status: int, answer: dict[str, Any] | bytes) -> None:
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self._head(status, len(data))
        self.wfile.write(data)

    def _head(self, status: int, num_bytes: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(num_bytes))
        if status == 503:
            self.send_header("retry-after-ms", "20")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quietly."""
