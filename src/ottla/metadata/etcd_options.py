"""Where etcd is, how to prove who we are, and how long to wait for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ssl import SSLContext

DEFAULT_PORT = 2379


class Endpoint(NamedTuple):
    """A member of etcd, or what stands before it. Its text is a URL."""

    host: str
    port: int
    is_tls: bool

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read "http://host:port", "https://host:port" or "host:port" (without TLS).

        Raises:
            ValueError: it is none of these.
        """
        url = urlsplit(text if "://" in text else f"http://{text}")
        if url.scheme not in ("http", "https") or not url.hostname or url.path not in ("", "/"):
            raise ValueError(f"{text!r} is not an endpoint of etcd, like https://10.0.0.1:2379")
        return cls(url.hostname, url.port or DEFAULT_PORT, url.scheme == "https")

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.is_tls else 'http'}://{self.authority}"


class TlsFiles(NamedTuple):
    """PEM files. Without `ca` the system's authorities are trusted."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def context(self) -> "SSLContext":
        """Read the files.

        Raises:
            OSError: a file is missing or is not what it should be (`ssl.SSLError`).
        """
        import ssl  # only a cluster with TLS needs it

        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


@dataclass(frozen=True, kw_only=True)
class EtcdOptions:
    endpoints: Sequence[str]
    """Members of one etcd cluster. One is used until it fails, then the next in turn."""

    first_endpoint: int = 0
    """Which to begin with, counted round and round: broker ids spread the brokers over etcd."""

    prefix: str = "/ottla/"
    """Of every key. A slash at the end is added where it is missing."""

    tls: TlsFiles | None = None
    """For https endpoints; None: the system's authorities, no certificate of our own."""

    user: str | None = None
    password: str = field(default="", repr=False)

    call_timeout_ms: int = 5_000
    """For one call, all endpoints tried together."""

    attempt_timeout_ms: int = 1_500
    """For one endpoint, where a call may safely be made again at the next."""

    progress_interval_ms: int = 1_000
    """How often is looked whether etcd answers and the watches are where it is."""

    watch_timeout_ms: int = 3_000
    """A watch that has not come this far behind in so long is made anew elsewhere."""

    def parsed_endpoints(self) -> tuple[Endpoint, ...]:
        """Raise ValueError if there is none, or one is not a URL."""
        if not self.endpoints:
            raise ValueError("etcd needs at least one endpoint")
        return tuple(Endpoint.parse(text) for text in self.endpoints)
