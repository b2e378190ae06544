"""What these tests need of the machine."""

import os

import pytest

from headrace.apps.cli.nodes import find_services


@pytest.fixture(scope="session")
def services_here() -> None:
    """Skip on a laptop without the services; in CI that is a failure."""
    if missing := find_services().missing:
        message = f"{', '.join(missing)} is missing; type: just services"
        if "CI" in os.environ:  # noqa: TID251 - only a test run can tell where it is
            pytest.fail(message)
        pytest.skip(message)
