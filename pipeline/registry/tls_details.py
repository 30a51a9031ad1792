"""Which TLS is allowed, in the words of containers-tls-details.yaml(5), as far as Python's ssl can be told."""

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from transship.pipeline.errors import UsageError, shown

if TYPE_CHECKING:
    import ssl

_VERSIONS: Final = {"1.0": "TLSv1", "1.1": "TLSv1_1", "1.2": "TLSv1_2", "1.3": "TLSv1_3"}
_SUITES_13: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
_SUITE: Final = r"TLS_([A-Z0-9_]+)_WITH_([A-Z0-9_]+)"
_GROUPS: Final = {"secp256r1": "prime256v1", "secp384r1": "secp384r1", "secp521r1": "secp521r1"}
_OTHER_GROUPS: Final = frozenset({"x25519", "X25519MLKEM768"})


class TlsDetails(NamedTuple):
    """What is allowed, by IANA's names; None is all that is usual, an empty ``minimum`` the usual version."""

    minimum: str = ""
    suites: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    def apply(self, context: "ssl.SSLContext") -> None:
        """Narrow ``context`` to what is allowed.

        Raises:
            UsageError: a name is unknown, or Python's ssl cannot be told that.
        """
        if self.minimum:
            _at_least(context, self.minimum)
        if self.suites is not None:
            _only_suites(context, self.suites, self.minimum)
        if self.groups is not None:
            _only_groups(context, self.groups)


def _at_least(context: "ssl.SSLContext", version: str) -> None:
    import ssl  # noqa: PLC0415 - who gives a context has it already

    if version not in _VERSIONS:
        raise UsageError(f"minVersion: {shown(version)!r} is none of {', '.join(_VERSIONS)}")
    try:
        context.minimum_version = ssl.TLSVersion[_VERSIONS[version]]
    except ValueError as error:
        raise UsageError(f"minVersion: this Python's OpenSSL cannot be told {version}") from error


def _only_suites(context: "ssl.SSLContext", suites: tuple[str, ...], minimum: str) -> None:
    import ssl  # noqa: PLC0415

    new = _SUITES_13 & set(suites)
    old = [suite for suite in suites if suite not in _SUITES_13]
    if not suites:
        raise UsageError("cipherSuites: an empty list allows no connection", advice="leave the key out")
    if new and new != _SUITES_13:
        raise UsageError(
            f"cipherSuites: Python's ssl cannot choose among those of TLS 1.3 ({', '.join(sorted(new))})",
            advice="name all three of them, or none, which keeps to TLS 1.2",
        )
    names = [_openssl_name(context, suite) for suite in old]
    if not new and minimum == "1.3":
        raise UsageError("cipherSuites: none is of TLS 1.3, and minVersion allows nothing older")
    if new and not old:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return
    context.set_ciphers(":".join(names))
    if not new:
        context.maximum_version = ssl.TLSVersion.TLSv1_2


def _openssl_name(context: "ssl.SSLContext", suite: str) -> str:
    """Return OpenSSL's name of a suite before TLS 1.3, asked one by one: of a list it takes what it knows."""
    import ssl  # noqa: PLC0415

    parts = re.fullmatch(_SUITE, suite)
    if parts is None:
        raise UsageError(f"cipherSuites: {shown(suite)!r} is no cipher suite of IANA's")
    exchange = "" if parts[1] == "RSA" else f"{parts[1].replace('_', '-')}-"
    cipher = parts[2].replace("3DES_EDE_CBC", "DES_CBC3").replace("_CBC_", "_")
    cipher = re.sub(r"AES_(128|256)", r"AES\1", cipher).replace("RC4_128", "RC4").replace("_", "-")
    name = exchange + (cipher.removesuffix("-SHA256") if "CHACHA20" in cipher else cipher)
    try:
        context.set_ciphers(name)
    except ssl.SSLError as error:
        raise UsageError(f"cipherSuites: this Python's OpenSSL has no {shown(suite)!r}") from error
    return name


def _only_groups(context: "ssl.SSLContext", groups: tuple[str, ...]) -> None:
    for group in groups:
        if group not in {*_GROUPS, *_OTHER_GROUPS}:
            raise UsageError(f"namedGroups: {shown(group)!r} is no group of IANA's that TLS is known with here")
    if len(groups) != 1 or groups[0] not in _GROUPS:
        raise UsageError(
            f"namedGroups: Python's ssl can be told one of {', '.join(_GROUPS)}, and no list",
            advice="name one of them, or leave the key out",
        )
    context.set_ecdh_curve(_GROUPS[groups[0]])
