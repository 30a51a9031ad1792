"""Logging in to one registry: Basic, and Bearer tokens from its token server.

Sources: distribution's "Token Authentication Specification" and "Docker Registry v2 OAuth2";
RFC 7617. Credentials and tokens are for the registry's origin and its realm only.
"""

import base64
import ipaddress
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from urllib.parse import urlencode

from transship.pipeline.errors import (
    ContentError,
    DeniedError,
    LoginError,
    TransientError,
    TransportError,
    UsageError,
    shown,
)
from transship.pipeline.manifest.document import load
from transship.pipeline.registry import http
from transship.pipeline.registry.answer import Answer
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.lanes import Lanes
from transship.pipeline.registry.origin import Origin, Url

if TYPE_CHECKING:
    from transship.pipeline.registry.challenge import Challenge

_MAX_TOKEN: Final = 1 << 20
_DEFAULT_LIFE: Final = 60.0
"""Seconds; the token specification's own default."""
_LONGEST_MARGIN: Final = 10.0
_LOGINS_AT_ONCE: Final = 2
_CLIENT: Final = "transship"
_FORM: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept-Encoding": "identity",
}
_PLAIN: Final = {"Accept-Encoding": "identity", "Accept": "application/json"}


class _Token(NamedTuple):
    header: str
    obtained: float
    renew_at: float

    def __repr__(self) -> str:
        return f"_Token({self.obtained}, {self.renew_at})"


class Login:
    """What one registry wants to see in ``Authorization``. Thread-safe.

    A refused login is remembered: the same credentials are not tried again. So that this holds for many
    threads too, one at a time tries them until they were taken once; later a password that was changed
    meanwhile is refused twice at most by a token server.
    """

    def __init__(
        self,
        origin: Origin,
        lanes: Lanes,
        find: Callable[[str], Credentials | None],
        token: str,
        *,
        verified: bool = True,
    ) -> None:
        """``find`` returns the credentials for a repository; ``token`` is sent as it is instead, where given.

        ``verified`` says that certificates are checked.

        Raises:
            UsageError: ``token`` is no token.
        """
        if token and not _usable(token):
            raise UsageError("the registry token given holds what no token does", advice="give it without spaces")
        self._origin = origin
        self._lanes = lanes
        self._find = find
        self._fixed = f"Bearer {token}" if token else ""
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._refused: dict[Credentials, LoginError] = {}
        self._verified = verified
        self._taken: set[Credentials] = set()
        self._trial = threading.Lock()
        self._logins = threading.BoundedSemaphore(_LOGINS_AT_ONCE)

    def header(self, repository: str, scope: str) -> str:
        """Return the header for a request to ``repository``; empty before the registry has asked for one.

        Raises:
            DeniedError: the login was or is refused.
            TransportError: the token server failed.
        """
        if self._fixed or self._challenge is None:
            return self._fixed
        if self._challenge.scheme == "basic":
            return self._basic(repository)
        token = self._tokens.get(scope)
        if token and token.renew_at > time.monotonic():
            return token.header
        return self._renewed(repository, scope, scope, token.header if token else "").header

    def challenged(self, answer: Answer, repository: str, scope: str, used: str, since: float) -> str:
        """Return the header to use after a 401 to a request that had ``used`` and began at ``since`` (monotonic).

        Raises:
            DeniedError: nothing better can be had; also as `header`.
        """
        wanted = self._choose(answer)
        if wanted is None or self._fixed:
            raise answer.error()
        self._challenge = wanted
        if wanted.scheme == "basic":
            header = self._basic(repository)
            if not header:
                raise answer.error()
            if header == used:
                raise self._refuse(self._credentials(repository), answer)
            return header
        token = self._tokens.get(scope)
        if token and token.header == used and token.obtained >= since:
            raise answer.error()
        return self._renewed(repository, scope, _asked(wanted.parameters.get("scope", ""), scope), used).header

    def sent(self, repository: str, header: str, send: Callable[[str], Answer]) -> Answer:
        """Return the answer that ``send(header)`` gives, alone while it is not known whether the password is right.

        Raises:
            DeniedError: another thread has found meanwhile that it is wrong.
        """
        credentials = self._credentials(repository) if header.startswith("Basic ") else None
        if credentials is None or credentials in self._taken:
            return send(header)
        with self._trial:
            self._credentials(repository)
            answer = send(header)
            if answer.status != 401:
                self._taken.add(credentials)
            elif answer.url.origin == self._origin:
                self._refuse(credentials, answer)
        return answer

    def _choose(self, answer: Answer) -> "Challenge | None":
        """Return the challenge to meet; one from where a redirect led is not the registry's."""
        if answer.url.origin != self._origin:
            return None
        from transship.pipeline.registry import challenge  # noqa: PLC0415 - many ask for no login

        offered = challenge.parse(answer.headers.get("WWW-Authenticate", ""))
        bearer = [one for one in offered if one.scheme == "bearer" and one.parameters.get("realm")]
        basic = [one for one in offered if one.scheme == "basic"]
        return next(iter(bearer + basic), None)

    def _credentials(self, repository: str) -> Credentials | None:
        found = self._find(repository)
        if found and found in self._refused:
            raise self._refused[found]
        return found

    def _basic(self, repository: str) -> str:
        found = self._credentials(repository)
        return basic(found) if found else ""

    def _refuse(self, credentials: Credentials | None, answer: Answer) -> LoginError:
        """Return the error of a failed login, and remember it."""
        message = answer.error().message
        if credentials is None:
            return LoginError(message, advice="log in first")
        name = f"user {shown(credentials.username)!r}" if credentials.username else "the identity token"
        error = LoginError(f"{message}: login refused for {name}", advice="not tried again in this run; log in anew")
        self._refused[credentials] = error
        return error

    def _renewed(self, repository: str, scope: str, asked: str, used: str) -> _Token:
        """Return a token other than ``used``: one that another thread got meanwhile, or a new one."""
        with self._locks[scope]:
            token = self._tokens.get(scope)
            if token and token.header != used and token.renew_at > time.monotonic():
                return token
            self._tokens[scope] = token = self._fetch(repository, asked)
            return token

    def _fetch(self, repository: str, scope: str) -> _Token:
        wanted = self._challenge
        assert wanted is not None
        credentials = self._credentials(repository)
        realm = self._realm(wanted.parameters.get("realm", ""), credentials)
        fields = {"scope": scope} if scope else {}
        if "service" in wanted.parameters:
            fields["service"] = wanted.parameters["service"]
        if credentials is None:
            return self._token(realm, fields, None)
        with self._logins, nullcontext() if credentials in self._taken else self._trial:
            self._credentials(repository)
            token = self._token(realm, fields, credentials)
        self._taken.add(credentials)
        return token

    def _token(self, realm: Url, fields: dict[str, str], credentials: Credentials | None) -> _Token:
        now = time.monotonic()
        if credentials and credentials.identity_token:
            answer = self._exchange(realm, fields, credentials.identity_token)
        else:
            joint = "&" if "?" in realm.target else "?"
            call = http.Call("GET", Url(realm.origin, realm.target + joint + urlencode(fields)), _PLAIN, _MAX_TOKEN)
            answer = http.send(self._lanes, call, basic(credentials) if credentials else "")
        # An identity token is refused with a 400 (RFC 6749, section 5.2).
        if answer.status == 401 or (answer.status == 400 and answer.method == "POST"):
            raise self._refuse(credentials, answer)
        if answer.status != 200:
            error = answer.error()
            # The token server's 404 says nothing about the image.
            raise error if isinstance(error, (DeniedError, TransientError)) else TransportError(error.message)
        return _read_token(answer, now)

    def _exchange(self, realm: Url, fields: dict[str, str], identity_token: str) -> Answer:
        form = {**fields, "grant_type": "refresh_token", "client_id": _CLIENT, "refresh_token": identity_token}
        return http.send(self._lanes, http.Call("POST", realm, _FORM, _MAX_TOKEN, urlencode(form).encode()))

    def _realm(self, text: str, credentials: Credentials | None) -> Url:
        """Return the token server's URL if it may be asked, and with these credentials.

        A registry names its token server itself, so what is kept for the one is meant for the other. That is
        believed where TLS says who both are; else credentials go to the registry's own origin alone.
        """
        realm = Url.parse(text, f"{self._origin}: realm of its token server")
        if realm.origin == self._origin:
            return realm
        what = f"{self._origin}: its token server {realm}"
        if _is_local(realm.origin.host) and not _is_local(self._origin.host):
            raise DeniedError(f"{what} is an address of this machine or network; refused")
        if realm.origin.scheme != "https":
            if self._origin.scheme == "https":
                raise DeniedError(f"{what} is not https; refused")
            if credentials:
                raise DeniedError(
                    f"{what} is at another origin without TLS; credentials are not sent there",
                    advice="serve tokens at the registry's own address, or by TLS",
                )
        elif credentials and not self._verified and realm.origin.host != self._origin.host:
            raise DeniedError(
                f"{what} is another host, whose certificate is not checked; credentials are not sent there",
                advice="leave out tls-verify=false, and give its authority by cert-dir",
            )
        return realm


def basic(credentials: Credentials) -> str:
    """Return the ``Authorization`` of RFC 7617."""
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _asked(offered: str, ours: str) -> str:
    """Return ``ours`` where it covers the scope that the registry named, else that: it may name things otherwise."""

    def covered(one: str) -> bool:
        named, _, actions = one.rpartition(":")
        parts = (mine.rpartition(":") for mine in ours.split())
        return any(named == name and set(actions.split(",")) <= set(allowed.split(",")) for name, _, allowed in parts)

    return ours if all(covered(one) for one in offered.split()) else offered


def _is_local(host: str) -> bool:
    """Say whether ``host`` is an address, or the name, that means something inside this network alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return False


def _usable(token: str) -> bool:
    return token.isascii() and token.isprintable() and " " not in token


def _read_token(answer: Answer, asked_at: float) -> _Token:
    if problem := answer.not_html():
        raise problem
    document = load(answer.body, f"{answer}: the token server's answer", _MAX_TOKEN, secret=True)
    token = document.get("token") or document.get("access_token")
    life = document.get("expires_in")
    if not isinstance(token, str) or not token or not _usable(token):
        raise ContentError(f"{answer}: the token server's answer holds no usable token")
    usable = isinstance(life, (int, float)) and 0 < life < 1 << 31
    seconds = float(cast("float", life)) if usable else _DEFAULT_LIFE
    return _Token(f"Bearer {token}", time.monotonic(), asked_at + seconds - min(_LONGEST_MARGIN, seconds / 4))
