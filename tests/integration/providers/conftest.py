"""What the tests of providers share: the local server."""

from collections.abc import AsyncGenerator

import pytest

from tests.support.upstream import Upstream, running_upstream


@pytest.fixture
async def upstream() -> AsyncGenerator[Upstream]:
    """An HTTP server that plays a vendor."""
    async with running_upstream() as server:
        yield server
