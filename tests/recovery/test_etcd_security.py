"""Passwords and certificates, with a real etcd that asks for them."""

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.etcd import etcd_or_skip, follower_of, opened, options, until_done
from tools.subject.etcd import Etcd

from ottla.metadata.etcd_options import TlsFiles
from ottla.model.errors import PeerError


def test_a_token_that_etcd_forgot_is_renewed() -> None:
    async def case(etcd: Etcd) -> None:
        (member,) = etcd.members
        given = options(etcd, user="root", password="secret")
        async with opened(given) as store:
            follower = await follower_of(store)
            await store.transact([], [("a", b"1")])
            for command in ("user add root:secret", "user grant-role root root", "auth enable"):
                etcd.control(*command.split())
            await store.transact([], [("a", b"2")])
            member.kill9()
            await asyncio.to_thread(member.start)
            done = await until_done(lambda: store.transact([], [("a", b"3")]))
            await follower.reached(done.revision)
            assert follower.items == {"a": b"3"}
        for wrong in ({"password": "guess"}, {"user": None}):
            with pytest.raises(PeerError, match=r"authentication failed|user name is empty"):
                async with opened(options(etcd, **({"user": "root", "password": ""} | wrong))):
                    pass

    with etcd_or_skip() as etcd:
        asyncio.run(case(etcd))


def certificates(folder: Path) -> None:
    """Make an authority, and by it certificates of etcd at 127.0.0.1, of a client, of a stranger."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not here")
    (folder / "extensions").write_text(
        "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    for authority in ("ca", "other"):
        openssl(
            folder,
            f"req -x509 {key} -keyout {authority}.key -out {authority}.pem -subj /CN={authority}",
        )
    for name, authority in (("etcd", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl(folder, f"req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}")
        openssl(
            folder,
            f"x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial "
            f"-days 2 -extfile extensions -out {name}.pem",
        )


def openssl(folder: Path, arguments: str) -> None:
    subprocess.run(["openssl", *arguments.split()], cwd=folder, check=True, capture_output=True)


def test_certificates_are_asked_for_on_both_sides(tmp_path: Path) -> None:
    certificates(tmp_path)

    def files(ca: str, name: str | None) -> TlsFiles:
        if name is None:
            return TlsFiles(str(tmp_path / f"{ca}.pem"))
        return TlsFiles(
            *(str(tmp_path / file) for file in (f"{ca}.pem", f"{name}.pem", f"{name}.key"))
        )

    async def case(etcd: Etcd) -> None:
        async with opened(options(etcd, tls=files("ca", "client"))) as store:
            follower = await follower_of(store)
            done = await store.transact([], [("a", bytes(1_000_000))])
            await follower.reached(done.revision)
            assert follower.items == (await store.load()).items
        for refused in (files("ca", None), files("ca", "stranger"), files("other", "client")):
            with pytest.raises(PeerError):
                async with opened(options(etcd, tls=refused, call_timeout_ms=300)):
                    pass

    tls = {"cert-file": "etcd.pem", "key-file": "etcd.key", "trusted-ca-file": "ca.pem"}
    extra = [f"--{flag}={tmp_path / file}" for flag, file in tls.items()]
    with etcd_or_skip(scheme="https", extra=[*extra, "--client-cert-auth"]) as etcd:
        asyncio.run(case(etcd))
