"""What the network of a disturbed cluster lets pass, seen by datagrams: their order tells."""

import socket
import subprocess
from collections.abc import Iterator

import pytest
from tools.cluster.network import US, Network, NoNetworkError

ONE, OTHER = "one", "other"


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    try:
        made = Network([ONE, OTHER])
    except NoNetworkError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def inbox(network: Network) -> Iterator[socket.socket]:
    """Where datagrams for us arrive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((network.address(US), 0))
        bound.settimeout(20)
        yield bound


def send(network: Network, name: str, inbox: socket.socket, text: str) -> None:
    """Let a machine send us a datagram; where its link is down, that fails."""
    host, port = inbox.getsockname()
    command = ["bash", "-c", f"printf {text} > /dev/udp/{host}/{port}"]
    subprocess.run(
        [*network.place(name).inside, *command], stderr=subprocess.DEVNULL, check=False, timeout=20
    )


def test_what_a_machine_sends_is_lost_while_cut_one_way_and_arrives_again(
    network: Network, inbox: socket.socket
) -> None:
    network.cut_one_way(ONE, US)
    send(network, ONE, inbox, "lost")
    send(network, OTHER, inbox, "of-another")
    network.heal()
    send(network, ONE, inbox, "healed")
    assert [inbox.recv(100), inbox.recv(100)] == [b"of-another", b"healed"]


def test_a_cut_of_one_way_leaves_the_other(network: Network, inbox: socket.socket) -> None:
    network.cut_one_way(US, ONE)
    network.cut_one_way(ONE, OTHER)
    send(network, ONE, inbox, "arrives")
    assert inbox.recv(100) == b"arrives"
    network.heal()


def test_an_unplugged_machine_is_heard_only_when_plugged_in_again(
    network: Network, inbox: socket.socket
) -> None:
    network.unplug(ONE)
    send(network, ONE, inbox, "of-one")
    send(network, OTHER, inbox, "of-another")
    assert inbox.recv(100) == b"of-another"
    network.heal()
    inbox.settimeout(0.1)
    heard = b""
    while not heard:
        send(network, ONE, inbox, "of-one")
        try:
            heard = inbox.recv(100)
        except TimeoutError:
            continue
    assert heard == b"of-one"
