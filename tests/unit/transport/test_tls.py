"""What the settings of TLS are worth, before any connection."""

from pathlib import Path

import pytest

from headrace.schema.settings import BrokerSettings, ObjectSettings, RedisSettings
from headrace.transport.objects import check_objects_url
from headrace.transport.rabbitmq import check_url
from headrace.transport.redis import check_redis_url
from headrace.transport.tls import TlsFiles, make_client_context
from tests.support.tls import make_authority


def test_a_plain_url_speaks_no_tls() -> None:
    assert make_client_context(TlsFiles(), url="amqp://localhost", section="broker") is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (BrokerSettings(url="amqp://localhost", tls_ca_file="ca.pem"), "broker.url"),
        (BrokerSettings(url="amqps://localhost", tls_ca_file="nowhere.pem"), "broker.tls_ca_file"),
        (BrokerSettings(url="amqps://localhost", tls_key_file="key.pem"), "broker.tls_key_file"),
        (BrokerSettings(url="amqps://localhost", tls_certificate_file="no.pem"), "broker.tls_certificate_file"),
    ],
)
def test_what_is_wrong_with_the_brokers_is_named(settings: BrokerSettings, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named}: "):
        check_url(settings)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (RedisSettings(url="redis://localhost", tls_ca_file="ca.pem"), "redis.url"),
        (RedisSettings(url="rediss://localhost", tls_ca_file="nowhere.pem"), "redis.tls_ca_file"),
    ],
)
def test_what_is_wrong_with_that_of_redis_is_named(settings: RedisSettings, named: str) -> None:
    with pytest.raises(ValueError, match=rf"^{named}: "):
        check_redis_url(settings)


def test_an_authority_of_the_object_store_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"^objects\.tls_ca_file: "):
        check_objects_url(ObjectSettings(url="s3://bucket", tls_ca_file="nowhere.pem"))


def test_a_file_that_holds_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    settings = BrokerSettings(url="amqps://localhost", tls_ca_file=str(tmp_path / "empty.pem"))
    with pytest.raises(ValueError, match=r"^broker\.tls_ca_file: "):
        check_url(settings)


def test_good_files_are_taken(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    files = TlsFiles(ca_file=str(authority.ca_file), certificate_file=str(authority.client_file))
    context = make_client_context(files, url="rediss://localhost", section="redis")
    assert context is not None
    assert context.check_hostname
