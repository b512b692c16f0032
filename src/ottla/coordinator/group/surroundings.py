"""What every group of a shard looks at: settings, the cluster, randomness.

The shell puts a new image and new settings in place; groups read them when
they decide, and never when they apply a record.
"""

from collections.abc import Callable, Mapping

from ottla.config.broker_config import BrokerConfig
from ottla.config.group_config import group_config
from ottla.config.key import Value
from ottla.coordinator.group.settings import GroupSettings
from ottla.metadata.image import ConfigResource, Image
from ottla.model.isolation import ResourceType
from ottla.model.randomness import Randomness

_NONE: Mapping[str, str] = {}


class Surroundings:
    """Shared by all shards and groups of a broker."""

    __slots__ = (
        "_by_group",
        "_config",
        "_image",
        "randomness",
        "settings",
        "share_member_expired",
    )

    def __init__(
        self,
        settings: GroupSettings,
        randomness: Randomness,
        config: BrokerConfig | None = None,
        image: Image | None = None,
    ) -> None:
        self.settings = settings
        self.randomness = randomness
        self._config = config
        self._image = Image() if image is None else image
        self._by_group: dict[str, Mapping[str, Value]] = {}
        self.share_member_expired: Callable[[str, str], None] = lambda group_id, member_id: None
        """Told (group, member) when a member of a share group was silent for too long."""

    @property
    def image(self) -> Image:
        """The cluster as last heard of."""
        return self._image

    @image.setter
    def image(self, image: Image) -> None:
        if image.configs is not self._image.configs:
            self._by_group.clear()
        self._image = image

    @property
    def config(self) -> BrokerConfig:
        """The broker's settings; those of Kafka where none were given."""
        if self._config is None:
            self._config = BrokerConfig({})
        return self._config

    @config.setter
    def config(self, config: BrokerConfig) -> None:
        self._config = config
        self._by_group.clear()

    def number(self, name: str) -> int:
        """A broker setting that is a number."""
        value = self.config.values[name]
        assert isinstance(value, int), name
        return value

    def group_values(self, group_id: str) -> Mapping[str, Value]:
        """The settings of one group, its own over the broker's, within the broker's bounds."""
        values = self._by_group.get(group_id)
        if values is None:
            resource = ConfigResource(ResourceType.GROUP, group_id)
            own = self._image.configs.get(resource, _NONE)
            if not own:
                group_id = ""  # one answer for all groups without settings of their own
                values = self._by_group.get(group_id)
            if values is None:
                values = self._by_group[group_id] = group_config(self.config, own).values
        return values

    def group_number(self, group_id: str, name: str) -> int:
        """One setting of a group that is a number, such as `consumer.session.timeout.ms`."""
        value = self.group_values(group_id)[name]
        assert isinstance(value, int), name
        return value
