"""What a sigstore signing parameter file asks for. Source: containers-sigstore-signing-params.yaml(5).

A mapping of texts, with one more below ``fulcio``. Nothing unknown in it is passed over.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from transship.pipeline.errors import UsageError, shown
from transship.pipeline.trust.sigstore.services import check_url, subject

_KEYS: Final = ("privateKeyFile", "privateKeyPassphraseFile", "fulcio", "rekorURL")
_FULCIO: Final = ("fulcioURL", "oidcMode", "oidcIDToken", "oidcIssuerURL", "oidcClientID", "oidcClientSecret")
_MODES: Final = ("staticToken", "deviceGrant", "interactive")
_MOST: Final = 1 << 20


class Parameters(NamedTuple):
    """How to sign: with the key in a file, or with certificates of the server ``fulcio``; empty is what is not there.

    ``rekor`` is the URL of a log that records each signature.
    """

    key: str = ""
    passphrase_file: str = ""
    fulcio: str = ""
    token: str = ""
    rekor: str = ""

    def __repr__(self) -> str:
        """Show all but the token."""
        return f"Parameters{(self.key, self.passphrase_file, self.fulcio, '...' if self.token else '', self.rekor)}"


def read(path: str) -> Parameters:
    """Return what the file at ``path`` says; names in it are relative to the working directory, as skopeo has it.

    Raises:
        UsageError: it cannot be read, has an unknown key or one twice, nothing to sign with or two things, or a mode
            of logging in that needs somebody at the terminal. No value of it is in the message.
    """
    said = _mapping(_root(path), _KEYS, path)
    found = Parameters(
        key=_text(said, "privateKeyFile", path),
        passphrase_file=_text(said, "privateKeyPassphraseFile", path),
        rekor=_text(said, "rekorURL", path),
    )
    if found.rekor:
        check_url(found.rekor, f"{path}: rekorURL")
    if "fulcio" in said and not _is_null(said["fulcio"]):
        found = _with_fulcio(found, _mapping(said["fulcio"], _FULCIO, f"{path}: fulcio"), f"{path}: fulcio")
    if bool(found.key) == bool(found.fulcio):
        how = "two ways" if found.key else "nothing"
        raise UsageError(f"{path}: {how} to sign with", advice="give privateKeyFile or fulcio")
    if found.passphrase_file and not found.key:
        raise UsageError(f"{path}: privateKeyPassphraseFile goes with privateKeyFile", advice="leave it out")
    if found.fulcio and not found.rekor:
        # Its certificate is past in minutes: only a log tells that the signature was made before.
        raise UsageError(f"{path}: fulcio needs rekorURL", advice="name the log that records the signatures")
    return found


def _with_fulcio(found: Parameters, said: "Mapping[str, Any]", where: str) -> Parameters:
    mode = _text(said, "oidcMode", where)
    if mode not in _MODES:
        what = f"is {shown(mode)!r}" if mode else "is missing"
        raise UsageError(f"{where}: oidcMode {what}", advice=f"expected {', '.join(_MODES)}")
    if mode != "staticToken":
        raise UsageError(
            f"{where}: oidcMode {mode}: logging in at a browser is not built", advice="use staticToken and oidcIDToken"
        )
    url, token = _text(said, "fulcioURL", where), _text(said, "oidcIDToken", where)
    for key, value in (("fulcioURL", url), ("oidcIDToken", token)):
        if not value:
            raise UsageError(f"{where}: {key} is missing")
    check_url(url, f"{where}: fulcioURL", secret=True)
    try:
        subject(token)
    except UsageError as error:
        raise UsageError(f"{where}: {error.message}", advice=error.advice) from None
    return found._replace(fulcio=url, token=token)


def _root(path: str) -> Any:
    import yaml  # noqa: PLC0415

    try:
        with open(path, "rb") as file:
            raw = file.read(_MOST + 1)
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if len(raw) > _MOST:
        raise UsageError(f"{shown(path)}: over the limit of {_MOST} bytes")
    try:
        root = yaml.compose(raw.decode(), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UsageError(f"{shown(path)}:{mark.line + 1 if mark else 1}: not YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        # Not chained: it may quote a token.
        raise UsageError(f"{shown(path)}: not YAML in UTF-8") from None
    return root


def _mapping(node: Any, keys: tuple[str, ...], where: str) -> dict[str, Any]:
    import yaml  # noqa: PLC0415

    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{where}: is no mapping of keys to values", advice=f"expected {', '.join(keys)}")
    found: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name not in keys:
            raise UsageError(f"{where}, line {line}: unknown key {shown(name)!r}", advice=f"expected {', '.join(keys)}")
        if name in found:
            raise UsageError(f"{where}, line {line}: key {name!r} stands twice", advice="keep one of them")
        found[name] = value
    return found


def _text(said: Mapping[str, Any], key: str, where: str) -> str:
    import yaml  # noqa: PLC0415

    node = said.get(key)
    if node is None or _is_null(node):
        return ""
    if not isinstance(node, yaml.ScalarNode):
        raise UsageError(f"{where}, line {node.start_mark.line + 1}: {key} is no text")
    return str(node.value)


def _is_null(node: Any) -> bool:
    return bool(node.tag == "tag:yaml.org,2002:null")
