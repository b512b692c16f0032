"""Where etcd is, as it is written down."""

from pathlib import Path

import pytest

from ottla.metadata.etcd_options import Endpoint, EtcdOptions, TlsFiles


@pytest.mark.parametrize(
    ("written", "endpoint", "shown"),
    [
        ("http://etcd1:2379", Endpoint("etcd1", 2379, False), "http://etcd1:2379"),
        ("https://10.0.0.1:4001/", Endpoint("10.0.0.1", 4001, True), "https://10.0.0.1:4001"),
        ("etcd1:4001", Endpoint("etcd1", 4001, False), "http://etcd1:4001"),
        ("https://etcd1", Endpoint("etcd1", 2379, True), "https://etcd1:2379"),
        ("http://[::1]:2379", Endpoint("::1", 2379, False), "http://[::1]:2379"),
    ],
)
def test_an_endpoint_is_a_url(written: str, endpoint: Endpoint, shown: str) -> None:
    assert Endpoint.parse(written) == endpoint
    assert str(endpoint) == shown


@pytest.mark.parametrize("written", ["", "ftp://a:1", "http://", "http://a:b", "http://a:1/path"])
def test_what_is_none_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        Endpoint.parse(written)


def test_at_least_one_endpoint_is_needed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EtcdOptions(endpoints=[]).parsed_endpoints()


def test_the_password_is_not_shown() -> None:
    assert "secret" not in repr(EtcdOptions(endpoints=["a"], user="u", password="secret"))


def test_a_missing_tls_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        TlsFiles(ca=str(tmp_path / "none")).context()
