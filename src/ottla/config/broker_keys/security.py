"""Broker settings: authorization, SASL, TLS, delegation tokens."""

from ottla.config.key import ConfigType, Effect, Key, Update
from ottla.config.validators import ListOf, OneOf, at_least

BOOLEAN = ConfigType.BOOLEAN
INT = ConfigType.INT
LIST = ConfigType.LIST
LONG = ConfigType.LONG
PASSWORD = ConfigType.PASSWORD
STRING = ConfigType.STRING
PER_BROKER = Update.PER_BROKER
READ_ONLY = Update.READ_ONLY
NOT_YET = Effect.NOT_YET
YES = Effect.YES

# fmt: off
SECURITY_KEYS = (
    Key("authorizer.class.name", STRING, "", None, READ_ONLY, YES,
        "Which authorizer decides who may do what. Empty allows everything; there is none yet, so "
        "Ottla refuses to start with a name."),
    Key("security.inter.broker.protocol", STRING, "PLAINTEXT", OneOf("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"), READ_ONLY, NOT_YET,
        "The security protocol brokers speak to each other when `inter.broker.listener.name` is not "
        "set."),
    Key("sasl.enabled.mechanisms", LIST, ("GSSAPI",), ListOf(may_be_empty=True), PER_BROKER, NOT_YET,
        "The SASL mechanisms offered to clients. May be set for one listener with its prefix."),
    Key("sasl.mechanism.inter.broker.protocol", STRING, "GSSAPI", None, PER_BROKER, NOT_YET,
        "The SASL mechanism brokers use towards each other."),
    Key("sasl.jaas.config", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "The login settings of a mechanism in JAAS syntax, usually with the prefix of a listener and "
        "a mechanism. Never shown."),
    Key("sasl.server.max.receive.size", INT, 524_288, None, READ_ONLY, NOT_YET,
        "The largest request accepted before a client is authenticated."),
    Key("sasl.oauthbearer.clock.skew.seconds", INT, 30, None, READ_ONLY, NOT_YET,
        "How far the clocks of token issuer and broker may differ."),
    Key("sasl.oauthbearer.expected.audience", LIST, (), ListOf(may_be_empty=True), READ_ONLY, NOT_YET,
        "The audiences of which a token must name one, separated by commas."),
    Key("sasl.oauthbearer.expected.issuer", STRING, None, None, READ_ONLY, NOT_YET,
        "The issuer a token must name."),
    Key("sasl.oauthbearer.jwks.endpoint.url", STRING, None, None, READ_ONLY, NOT_YET,
        "Where the keys that sign tokens are fetched from."),
    Key("sasl.oauthbearer.jwks.endpoint.refresh.ms", LONG, 3_600_000, None, READ_ONLY, NOT_YET,
        "How often these keys are fetched again."),
    Key("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", LONG, 100, None, READ_ONLY, NOT_YET,
        "How long to wait after the first failure to fetch them; it grows with each."),
    Key("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms", LONG, 10000, None, READ_ONLY, NOT_YET,
        "The longest such wait."),
    Key("sasl.oauthbearer.scope.claim.name", STRING, "scope", None, READ_ONLY, NOT_YET,
        "The claim of a token that holds its scopes."),
    Key("sasl.oauthbearer.sub.claim.name", STRING, "sub", None, READ_ONLY, NOT_YET,
        "The claim of a token that names its owner."),
    Key("ssl.client.auth", STRING, "none", OneOf("required", "requested", "none"), PER_BROKER, NOT_YET,
        "Whether clients must show a certificate (`required`), may (`requested`) or need not "
        "(`none`)."),
    Key("ssl.principal.mapping.rules", STRING, "DEFAULT", None, READ_ONLY, NOT_YET,
        "Rules, separated by commas, that turn a certificate's name into a principal; the first that "
        "matches counts, and DEFAULT takes the name as it is."),
    Key("ssl.protocol", STRING, "TLSv1.3", None, PER_BROKER, NOT_YET,
        "The TLS version Kafka's Java code starts from. Ottla follows `ssl.enabled.protocols`."),
    Key("ssl.enabled.protocols", LIST, ("TLSv1.2", "TLSv1.3"), ListOf(may_be_empty=True), PER_BROKER, NOT_YET,
        "The TLS versions offered."),
    Key("ssl.cipher.suites", LIST, (), ListOf(may_be_empty=True), PER_BROKER, NOT_YET,
        "The cipher suites offered; empty leaves the choice to the TLS library."),
    Key("ssl.endpoint.identification.algorithm", STRING, "https", None, PER_BROKER, NOT_YET,
        "How a server's certificate is compared with its host name; empty does not compare."),
    Key("ssl.keystore.type", STRING, "JKS", None, PER_BROKER, NOT_YET,
        "The format of the key store file: PEM or PKCS12; Java's own JKS needs converting."),
    Key("ssl.keystore.location", STRING, None, None, PER_BROKER, NOT_YET,
        "The file with this broker's key and certificate."),
    Key("ssl.keystore.password", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "The password of the key store file."),
    Key("ssl.keystore.key", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "This broker's private key itself, as PEM text."),
    Key("ssl.keystore.certificate.chain", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "This broker's certificate chain itself, as PEM text."),
    Key("ssl.key.password", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "The password of the private key."),
    Key("ssl.truststore.type", STRING, "JKS", None, PER_BROKER, NOT_YET,
        "The format of the trust store file: PEM or PKCS12; Java's own JKS needs converting."),
    Key("ssl.truststore.location", STRING, None, None, PER_BROKER, NOT_YET,
        "The file with the certificates of trusted authorities."),
    Key("ssl.truststore.password", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "The password of the trust store file."),
    Key("ssl.truststore.certificates", PASSWORD, None, None, PER_BROKER, NOT_YET,
        "The certificates of trusted authorities themselves, as PEM text."),
    Key("ssl.allow.dn.changes", BOOLEAN, False, None, READ_ONLY, NOT_YET,
        "Whether a replaced certificate may carry another name."),
    Key("ssl.allow.san.changes", BOOLEAN, False, None, READ_ONLY, NOT_YET,
        "Whether a replaced certificate may carry other alternative names."),
    Key("delegation.token.secret.key", PASSWORD, None, None, READ_ONLY, NOT_YET,
        "The secret that signs delegation tokens, equal on all brokers; without it there are no "
        "tokens."),
    Key("delegation.token.max.lifetime.ms", LONG, 604_800_000, at_least(1), READ_ONLY, NOT_YET,
        "The longest a delegation token can be renewed for."),
    Key("delegation.token.expiry.time.ms", LONG, 86_400_000, at_least(1), READ_ONLY, NOT_YET,
        "How long a delegation token is valid before it must be renewed."),
    Key("delegation.token.expiry.check.interval.ms", LONG, 3_600_000, at_least(1), READ_ONLY, NOT_YET,
        "How often expired delegation tokens are removed."),
)
# fmt: on
