# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The description of the admin API, of usage and of limits is true, with their keys and without any.

Like `test_schemathesis.py`, on a gateway that has accounts. Calls are brought nearer to what there is: a tenant and a
key of their own, so that changing, revoking and deleting them are seen too.
"""

from collections.abc import Generator
from random import Random
from typing import Any

import httpx
import hypothesis
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import response_schema_conformance
from schemathesis.specs.openapi.schemas import OpenApiSchema

from headrace.gateway.openapi import describe_api
from tests.integration.gateway.test_schemathesis import CHECKS, EXAMPLES, METHODS, SEED, Operation, narrow
from tests.support.scripted_serving import scripted_serving
from tests.support.serving import Serving
from tests.support.values import fresh_name

ADMIN_KEY = "an admin key of the schema"
ADMIN = {"Authorization": f"Bearer {ADMIN_KEY}"}
NEAR_SHARE = 0.8
ALL_CHECKS = [*CHECKS, response_schema_conformance]
_PATHS = describe_api("0", has_admin=True, has_usage=True, has_limits=True)["paths"]
LABELS = sorted(
    f"{method.upper()} {path}"
    for path in _PATHS.keys() - describe_api("0")["paths"].keys()
    for method in METHODS & _PATHS[path].keys()
)
# Only of a body it is described what does not fit: any text is a name, and queries are held to the unit tests.
CASES = [(label, GenerationMode.POSITIVE) for label in LABELS] + [
    (label, GenerationMode.NEGATIVE)
    for label in LABELS
    if "requestBody" in _PATHS[label.partition(" ")[2]][label.partition(" ")[0].lower()]
]

pytestmark = pytest.mark.timeout(180)


class Site:
    """A running server with accounts, its own description, and what may be broken in it."""

    def __init__(self, server: Serving) -> None:
        self.address = server.address
        document: dict[str, Any] = httpx.get(f"{server.address}/schema/openapi.json").json()
        for schema in document["components"]["schemas"].values():
            narrow(schema)
        self.schema: OpenApiSchema = schemathesis.openapi.from_dict(document)
        self.http = httpx.Client(base_url=server.address, headers=ADMIN)
        self.tenant = self.make("/tenants", name="reader")
        self.caller = {"Authorization": f"Bearer {self.make('/keys', tenant='reader', name='reader')['secret']}"}

    def make(self, path: str, **body: Any) -> dict[str, Any]:
        return self.http.post(f"/admin/v1{path}", json=body).raise_for_status().json()

    def find(self, label: str) -> Operation:
        found = (result.ok() for result in self.schema.get_all_operations() if isinstance(result, Ok))
        return next(operation for operation in found if operation.label == label)

    def bring_nearer(self, case: Case[Any], luck: Random) -> None:
        """Ask for what is there: a tenant and a key that nobody else needs."""
        if luck.random() > NEAR_SHARE:
            return
        name = fresh_name("t")
        if "tenant" in case.path_parameters:
            made = self.make("/tenants", name=name, limits={"tokens_per_day": 5})
            if luck.random() < NEAR_SHARE:
                self.http.patch(f"/admin/v1/tenants/{name}", json={"disabled": True}).raise_for_status()
            case.path_parameters["tenant"] = luck.choice([name, made["id"]])
        if "key" in case.path_parameters:
            key = self.make("/keys", tenant="reader", name=name, limits={"cost_per_month_micros": 5})["key"]
            case.path_parameters["key"] = luck.choice([name, key["id"], key["secrets"][0]["prefix"]])
        for place in (case.query, case.body):
            if isinstance(place, dict) and "tenant" in place:
                place["tenant"] = luck.choice(["reader", self.tenant["id"]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Generator[Site]:
    environment = {"HEADRACE_ACCOUNTS_ENABLED": "true", "HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN_KEY}
    with scripted_serving(tmp_path_factory.mktemp("site"), environment=environment) as server:
        made = Site(server)
        yield made
        made.http.close()


@pytest.mark.parametrize(("label", "mode"), CASES, ids=lambda value: getattr(value, "value", value))
def test_answers_are_as_described(site: Site, label: str, mode: GenerationMode, pytestconfig: pytest.Config) -> None:
    operation = site.find(label)
    key = ADMIN if "/admin/" in label else site.caller
    luck = strategies.randoms(use_true_random=False)
    seed = int(pytestconfig.getoption("--hypothesis-seed") or SEED)
    seen: set[int] = set()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), luck=luck)
    def check(case: Case[Any], luck: Random) -> None:
        hypothesis.note(f"--hypothesis-seed={seed}")
        site.bring_nearer(case, luck)
        response = case.call(site.address, headers=key)
        seen.add(response.status_code)
        case.validate_response(response, checks=ALL_CHECKS)

    check()
    if mode == GenerationMode.POSITIVE:
        assert seen & {200, 201, 204}, f"nothing was accepted: {seen}"


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer nobody's"}, {"X-Api-Key": "hr_0123456789_x"}])
def test_without_its_key_nothing_opens(site: Site, label: str, headers: dict[str, str]) -> None:
    method, _, path = label.partition(" ")
    content = b"{" if method in ("POST", "PATCH") else None
    answer = httpx.request(
        method, site.address + path.format(tenant="reader", key="reader"), headers=headers, content=content
    )
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    code = "invalid_api_key" if path.startswith("/v1/") else "unauthorized"
    assert msgspec.json.decode(answer.content)["error"]["code"] == code


def test_the_key_of_a_tenant_is_none_of_administrators(site: Site) -> None:
    for label in LABELS:
        method, _, path = label.partition(" ")
        if path.startswith("/admin/"):
            address = site.address + path.format(tenant="reader", key="reader")
            assert httpx.request(method, address, headers=site.caller).status_code == 401, label
