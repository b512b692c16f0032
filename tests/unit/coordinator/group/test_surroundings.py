"""The settings of one group: its own, over the broker's, within bounds."""

from ottla.config.broker_config import BrokerConfig
from ottla.coordinator.group.settings import GroupSettings
from ottla.coordinator.group.surroundings import Surroundings
from ottla.metadata.image import ConfigResource, Image
from ottla.model.isolation import ResourceType


class NoRandomness:
    def uuid(self) -> bytes:
        raise AssertionError

    def below(self, bound: int) -> int:
        raise AssertionError


def with_config(group_id: str, **values: str) -> Image:
    resource = ConfigResource(ResourceType.GROUP, group_id)
    own = {name.replace("_", "."): value for name, value in values.items()}
    return Image(configs={resource: own})


def test_a_group_has_its_own_setting_within_the_brokers_bounds() -> None:
    around = Surroundings(GroupSettings(), NoRandomness())
    name = "consumer.session.timeout.ms"
    assert around.group_number("g", name) == 45_000
    around.image = with_config("g", consumer_session_timeout_ms="50000")
    assert around.group_number("g", name) == 50_000
    assert around.group_number("h", name) == 45_000
    around.image = with_config("g", consumer_session_timeout_ms="70000")
    assert around.group_number("g", name) == 60_000


def test_new_settings_of_the_broker_count_at_once() -> None:
    around = Surroundings(GroupSettings(), NoRandomness())
    assert around.group_number("g", "consumer.heartbeat.interval.ms") == 5_000
    assert around.number("group.consumer.max.size") == 2**31 - 1
    around.config = BrokerConfig({"group.consumer.heartbeat.interval.ms": "7000"})
    assert around.group_number("g", "consumer.heartbeat.interval.ms") == 7_000
