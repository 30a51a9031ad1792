"""WWW-Authenticate: what RFC 9110 allows is understood, anything else harms nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.pipeline.registry.challenge import parse

_NAMES = st.text("abcdefghijklmnopqrstuvwxyz-_!", min_size=1, max_size=8)
_VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20)
_CHALLENGES = st.lists(st.tuples(_NAMES, st.dictionaries(_NAMES, _VALUES, max_size=4)), max_size=4)


def _spelt(scheme: str, parameters: dict[str, str]) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())


def test_commas_and_equal_signs_in_quotes_belong_to_the_value() -> None:
    (bearer,) = parse('Bearer realm="https://h/t?a=b,c",service="x", scope="repository:a/b:pull,push"')
    assert bearer.scheme == "bearer"
    assert dict(bearer.parameters) == {
        "realm": "https://h/t?a=b,c",
        "service": "x",
        "scope": "repository:a/b:pull,push",
    }


def test_escapes_are_undone() -> None:
    assert parse(r'Basic realm="a \"b\" \\"')[0].parameters["realm"] == r"a "[:2] + '"b" ' + "\\"


def test_several_challenges_and_token68_in_one_header() -> None:
    found = parse('Negotiate abc==, Basic realm="r", NTLM, BEARER Realm = t , charset=UTF-8')
    assert [one.scheme for one in found] == ["negotiate", "basic", "ntlm", "bearer"]
    assert dict(found[3].parameters) == {"realm": "t", "charset": "UTF-8"}


@pytest.mark.parametrize(
    "header",
    ["", ",", "=", 'Bearer realm="open', 'Bearer realm="a" junk', 'Bearer realm="a", realm="b"', "Bearer realm=a b"],
)
def test_a_malformed_challenge_is_none(header: str) -> None:
    assert parse(header) == ()


def test_a_malformed_challenge_leaves_the_sound_one_before_it() -> None:
    assert [one.scheme for one in parse('Basic realm="r", Bearer realm="x')] == ["basic"]


@given(_CHALLENGES)
def test_what_is_spelt_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(_spelt(*one) for one in challenges)
    assert [(one.scheme, dict(one.parameters)) for one in parse(header)] == challenges


@given(st.text(max_size=200))
def test_any_text_is_survived(text: str) -> None:
    assert isinstance(parse(text), tuple)
