"""OpenAI's official client, connected to an app in this process."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx2
import openai
from litestar import Litestar


@asynccontextmanager
async def open_openai(app: Litestar) -> AsyncGenerator[openai.AsyncOpenAI]:
    """Yield the client; it reports the first error and tries nothing again."""
    transport = httpx2.ASGITransport(app)  # pyright: ignore[reportArgumentType]
    async with (
        httpx2.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(base_url="http://gateway/v1", api_key="any", max_retries=0, http_client=http) as client,
    ):
        yield client
