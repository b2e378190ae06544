"""What these tests need of the machine."""

import pytest

from headrace.apps.cli.nodes import MissingServiceError, find_services
from tests.support.services import give_up


@pytest.fixture(scope="session")
def services_here() -> None:
    """Skip on a laptop without the services; in CI that is a failure."""
    if missing := find_services().missing:
        give_up(MissingServiceError(f"{', '.join(missing)} is missing; type: just services"))
