"""Brokers and an etcd as processes, each on a machine of its own, or all on the loopback interface."""

from collections.abc import Collection, Mapping
from pathlib import Path

from tools.cluster.network import Network
from tools.subject import Ottla, free_port
from tools.subject.etcd import Etcd
from tools.subject.ottla import OTTLA
from tools.subject.place import HERE, Place
from tools.subject.wait import until

PORT = 9092
"""Of every broker that has a machine of its own."""

ETCD_SETTINGS = ("--heartbeat-interval=100", "--election-timeout=1000")
"""etcd's own; faster ones have it elect on a busy machine."""


class Broker(Ottla):
    """One broker of a cluster: an address that stays, and a number."""

    def __init__(
        self,
        number: int,
        folder: Path,
        place: Place,
        settings: Mapping[str, str],
        environment: Mapping[str, str],
        directories: int = 1,
    ) -> None:
        port = free_port() if place is HERE else PORT
        super().__init__(
            folder / "disk" / "data",
            log=folder / "broker.log",
            port=port,
            environment=dict(environment),
        )
        self.name = f"broker {number}"
        self.number = number
        self.machine = machine_of(number)
        self.place = place
        self.disk = self.data.parent
        """Where its files are for us."""
        self.disk.mkdir(parents=True, exist_ok=True)
        self.has_small_disk = False
        others = [self.disk / f"data{n}" for n in range(2, directories + 1)]
        self._directories = ",".join(map(str, [self.data, *others]))
        self._broker_settings = {"node.id": str(number), **settings}

    @property
    def bootstrap(self) -> str:
        return f"{self.place.host}:{self.port}"

    def copy_of(self, topic: str, partition: int) -> Path | None:
        """Where its copy of a partition is for us, in whichever log directory."""
        found = list(self.disk.glob(f"data*/{topic}-{partition}"))
        return found[0] if found else None

    def command(self) -> list[str]:
        """What to run."""
        given = {"advertised.listeners": f"PLAINTEXT://{self.bootstrap}", **self._broker_settings}
        return [
            *self.place.inside,
            *OTTLA,
            *("serve", "--data", self._directories, "--listen", self.bootstrap),
            *(part for name, value in given.items() for part in ("--set", f"{name}={value}")),
        ]


class Cluster:
    """Several brokers that share an etcd.

    As a context manager it starts on entering; on leaving all is killed and taken away, its files
    excepted.
    """

    def __init__(
        self,
        home: Path,
        *,
        brokers: int = 3,
        etcd_members: int = 1,
        network: bool = True,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        small_disk: tuple[int, int] | None = None,
        directories: int = 1,
        absent: Collection[int] = (),
    ) -> None:
        """Prepare it; `small_disk` is a broker and the bytes of its disk, where there is a network.

        Each broker has so many log `directories`; those in `absent` have a machine, and do not run.

        Raises:
            NoNetworkError: namespaces were asked for, and cannot be made.
            EtcdNotFoundError: there is no etcd.
        """
        self.home = home
        self.absent = set(absent)
        """Brokers that take no part."""
        numbers = range(1, brokers + 1)
        members = [f"etcd{n}" for n in range(etcd_members)]
        self.network = Network([*map(machine_of, numbers), *members]) if network else None
        try:
            self.etcd = Etcd(
                etcd_members,
                home=home / "etcd",
                extra=ETCD_SETTINGS,
                places=[self._place(name) for name in members],
            )
            given = {
                "metadata.etcd.endpoints": ",".join(self.etcd.endpoints),
                **(settings or {}),
            }
            self.brokers = {
                n: Broker(
                    n,
                    home / machine_of(n),
                    self._place(machine_of(n)),
                    given,
                    environment or {},
                    directories,
                )
                for n in numbers
            }
            if small_disk is not None:
                self._make_small_disk(*small_disk)
        except BaseException:
            self._take_away()
            raise

    def _place(self, machine: str) -> Place:
        return HERE if self.network is None else self.network.place(machine)

    def _make_small_disk(self, number: int, size_bytes: int) -> None:
        if self.network is not None:
            broker = self.brokers[number]
            path = str(broker.disk)
            broker.disk = Path(self.network.mount_small_disk(broker.machine, path, size_bytes))
            broker.has_small_disk = True

    @property
    def present(self) -> list[Broker]:
        """Those that take part, whether they run now or not."""
        return [each for number, each in self.brokers.items() if number not in self.absent]

    @property
    def bootstrap(self) -> str:
        """Every broker that takes part, for clients."""
        return ",".join(broker.bootstrap for broker in self.present)

    def __enter__(self) -> "Cluster":
        try:
            self.etcd.__enter__()
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def stop(self) -> None:
        """Ask every broker to stop at once, and wait until all have."""
        for broker in self.brokers.values():
            broker.ask_to_stop()
        for broker in self.brokers.values():
            broker.await_stopped()

    def start(self) -> None:
        """Start every broker that takes part and does not run."""
        down = [broker for broker in self.present if not broker.running()]
        for broker in down:
            broker.launch()
        for broker in down:
            broker.await_ready()

    def admit(self, number: int) -> None:
        """Have a broker that was absent take part."""
        self.absent.discard(number)
        self.start()

    def dismiss(self, number: int) -> None:
        """Stop a broker, which takes part no more."""
        self.brokers[number].stop()
        self.absent.add(number)

    def heal(self) -> None:
        """Undo what was done to the network and to processes: all run, and reach each other."""
        if self.network is not None:
            self.network.heal()
        for process in (*self.etcd.members, *self.brokers.values()):
            if process.running():
                process.resume()
        absent = [member for member in self.etcd.members if not member.running()]
        for member in absent:
            member.launch()
        for member in absent:
            member.await_ready()
        self.start()

    def etcd_leader(self, seconds: float = 10.0) -> int:
        """Which etcd member leads."""

        def leader() -> list[int]:
            running = [(n, each) for n, each in enumerate(self.etcd.members) if each.running()]
            return [n for n, member in running if self.etcd.leads(member)]

        return until("an etcd member leads", leader, seconds)[0]

    def kill(self) -> None:
        """End every process and take the network away."""
        for broker in self.brokers.values():
            broker.kill9()
        self.etcd.kill()
        self._take_away()

    def _take_away(self) -> None:
        if self.network is not None:
            self.network.close()


def machine_of(number: int) -> str:
    """The name of a broker's machine."""
    return f"broker{number}"
