"""The native API from the client's side. Every failure becomes one line that says what to do next."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from http import HTTPStatus

import httpx
import msgspec
from msgspec import Struct

from headrace.apps.cli.chat.options import ChatOptions
from headrace.apps.cli.chat.stream import FailureDetail, StreamEvent, read_events

REQUEST_ID_HEADER = "Headrace-Request-Id"
# The gateway sends a comment every 15 seconds by default; one that is silent for longer is gone.
SILENCE_SECONDS = 120.0
CONNECT_SECONDS = 5.0


class ChatError(RuntimeError):
    """The call failed; the message is one line for the person who typed the command."""


class ChatMessage(Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str


class _Parameters(Struct, omit_defaults=True):
    max_tokens: int | None = None
    temperature: float | None = None


class _Body(Struct, omit_defaults=True):
    model: str
    messages: list[ChatMessage]
    generation_parameters: _Parameters
    stream: bool


class _ErrorBody(Struct):
    error: FailureDetail


class _Model(Struct):
    id: str


class _ModelList(Struct):
    data: list[_Model]


class ChatClient:
    """Sends conversations to one gateway.

    Args:
        options: the address, the model and the parameters.
        api_key: sent as a bearer token; None sends none.
        transport: how requests travel, for tests.
    """

    def __init__(
        self, options: ChatOptions, *, api_key: str | None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._options = options
        self._http = httpx.Client(
            base_url=options.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )
        self._request_id: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def stream_answer(self, messages: list[ChatMessage]) -> Generator[StreamEvent]:
        """Yield the events of an answer up to and including `generation_finished`.

        Raises:
            ChatError: it could not be had, or not whole.
        """
        options = self._options
        body = _Body(
            model=options.model,
            messages=messages,
            generation_parameters=_Parameters(max_tokens=options.max_tokens, temperature=options.temperature),
            stream=True,
        )
        self._request_id = None
        with (
            self._explained(),
            self._http.stream(
                "POST",
                "/v1/generations",
                content=msgspec.json.encode(body),
                headers={"Content-Type": "application/json"},
            ) as response,
        ):
            if response.status_code != HTTPStatus.OK:
                raise self._refusal(response.status_code, response.read())
            self._request_id = response.headers.get(REQUEST_ID_HEADER)
            for event in read_events(response.iter_lines()):
                if event.type == "generation_failed":
                    raise ChatError(self._explain_failure(event.error or FailureDetail()))
                yield event
                if event.is_terminal:
                    return
        raise ChatError("the answer broke off before its end: the server closed the connection")

    def cancel(self) -> None:
        """Tell the gateway to stop the answer that was read last. Leaving would do; this does it at once."""
        if self._request_id is not None:
            with suppress(httpx.HTTPError):
                self._http.delete(f"/v1/generations/{self._request_id}", timeout=CONNECT_SECONDS)

    @contextmanager
    def _explained(self) -> Generator[None]:
        url = self._options.url
        try:
            yield
        except httpx.ConnectError:
            raise ChatError(f"nothing answers at {url}. Start a server with: just serve") from None
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise ChatError(f"--url {url} is not an address like http://127.0.0.1:8000") from None
        except httpx.TimeoutException:
            raise ChatError(f"{url} stopped answering. What is wrong there: headrace doctor") from None
        except (httpx.HTTPError, ValueError) as error:
            raise ChatError(f"the answer broke off before its end: {error}") from None

    def _refusal(self, status: int, content: bytes) -> ChatError:
        try:
            detail = msgspec.json.decode(content, type=_ErrorBody).error
        except msgspec.DecodeError:
            return ChatError(f"{self._options.url} answered {status}, and not as Headrace does: is it the right --url?")
        if detail.code == "unauthorized":
            return ChatError("the server wants an API key, and not the one it got: set HEADRACE_API_KEY")
        if detail.code == "model_not_found":
            return ChatError(f"there is no model {self._options.model}; {self._list_models()}")
        return ChatError(self._explain_failure(detail))

    def _list_models(self) -> str:
        try:
            models = msgspec.json.decode(self._http.get("/v1/models").content, type=_ModelList).data
        except (httpx.HTTPError, msgspec.DecodeError):
            return "see GET /v1/models"
        return "type one of: " + ", ".join(model.id for model in models) if models else "the server has none"

    @staticmethod
    def _explain_failure(detail: FailureDetail) -> str:
        hint = " Type it again: it may work now." if detail.retryable else ""
        return f"{detail.message or 'the server gave no reason'} ({detail.code or 'unknown'}).{hint}"
