"""The etcd that the settings name, as a store."""

from ottla.config.broker_config import BrokerConfig
from ottla.config.key import Value
from ottla.metadata.store import Store
from ottla.model.clock import Clock
from ottla.net.network import Network


def etcd_store(config: BrokerConfig, clock: Clock, network: Network) -> Store:
    """`clock` is the transport clock; nothing is connected to yet.

    Raises:
        ValueError: an endpoint is not a URL.
        StorageError: a file for TLS cannot be used.
    """
    from ottla.metadata.etcd_options import EtcdOptions, TlsFiles
    from ottla.metadata.store_etcd import EtcdStore

    values = config.values
    endpoints = values["metadata.etcd.endpoints"]
    assert isinstance(endpoints, tuple)
    options = EtcdOptions(
        endpoints=[str(each) for each in endpoints],
        first_endpoint=config.node_id,
        prefix=str(values["metadata.etcd.prefix"]),
        tls=TlsFiles(
            _text(values["metadata.etcd.ssl.ca"]),
            _text(values["metadata.etcd.ssl.certificate"]),
            _text(values["metadata.etcd.ssl.key"]),
        ),
        user=_text(values["metadata.etcd.user"]),
        password=_text(values["metadata.etcd.password"]) or "",
    )
    return EtcdStore(options, network, clock)


def _text(value: Value) -> str | None:
    return None if value is None else str(value)
