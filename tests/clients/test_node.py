"""The vendors' JavaScript clients, in Node."""

import pytest

from tests.clients.node_packages import NodePackagesError, install_packages, run_tests
from tests.clients.target import Target
from tests.conftest import IN_CI
from tests.support.serving import clean_environment

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def packages() -> None:
    """The packages; without a way to npm, the tests are skipped on a laptop and fail in CI."""
    try:
        install_packages()
    except NodePackagesError as error:
        if IN_CI:
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("file", ["openai.test.mjs", "anthropic.test.mjs"])
def test_a_javascript_client(target: Target, file: str) -> None:
    environment = clean_environment(
        {
            "HEADRACE_TEST_ADDRESS": target.server.address,
            "HEADRACE_TEST_MODEL": target.model,
            "HEADRACE_TEST_KEY": target.key,
        }
    )
    done = run_tests(file, environment)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
