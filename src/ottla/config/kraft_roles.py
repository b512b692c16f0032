"""`process.roles` and the quorum of a file written for Kafka: what of it we can be.

Every Ottla is a broker and keeps the metadata itself. So a combined node is what
we are, a controller alone is what we cannot be, and whoever names controllers
elsewhere must hear that nobody asks them: each such broker is a cluster of its own.
"""

from collections.abc import Iterator, Mapping

from ottla.config.key import ConfigError, invalid_value

PROCESS_ROLES = "process.roles"
VOTERS = "controller.quorum.voters"
BROKER = "broker"
ROLES = (BROKER, "controller")


def check_roles(foreign: Mapping[str, str]) -> Iterator[str]:
    """Yield warnings about the settings, by name, that ask for a quorum.

    Raises:
        ConfigError: the roles are none of Kafka's, in its words, or a controller's alone.
    """
    if PROCESS_ROLES in foreign:
        roles = [role.strip() for role in foreign[PROCESS_ROLES].split(",") if role.strip()]
        if not roles:
            raise ConfigError(
                f"Configuration '{PROCESS_ROLES}' must not be empty. Valid values include: "
                f"[{', '.join(ROLES)}]"
            )
        for role in roles:
            if role not in ROLES:
                raise invalid_value(
                    PROCESS_ROLES, role, f"String must be one of: {', '.join(ROLES)}"
                )
        if BROKER not in roles:
            raise ConfigError(
                f"{PROCESS_ROLES}={foreign[PROCESS_ROLES].strip()} asks for a controller alone, "
                "which Ottla cannot be: every Ottla is a broker that keeps the metadata itself. "
                f"Start none for this file, or say {PROCESS_ROLES}={','.join(ROLES)}"
            )
        if set(roles) == {BROKER}:
            yield (
                f"{PROCESS_ROLES}={BROKER} means controllers elsewhere: Ottla does not ask them, "
                "this broker is a cluster of its own"
            )
            return
    voters = [voter for voter in foreign.get(VOTERS, "").split(",") if voter.strip()]
    if len(voters) > 1:
        yield (
            f"{VOTERS} names {len(voters)} controllers: Ottla does not join them, "
            "this broker is a cluster of its own"
        )
