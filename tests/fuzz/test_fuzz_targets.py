"""Case 37: the targets of the fuzzer over Hypothesis, from nothing and from sound inputs that were changed."""

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from support.figures import tally
from support.hostile_bundles import members, packed
from transship.pipeline.bundle.verify import verify_bundle
from transship.pipeline.transports.bundle_file import BundleFile
from transship.pipeline.transports.checksums import Checksums

EXAMPLES = 60
COUNTED = "{inputs:.0f} inputs of {targets:.0f} targets: only our errors; at most {took:.1f} s for those of one target"
TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"null", b"1e400", b"NaN", b"-1", b"9" * 30, b"\\ud800", b"\0", b"\xff",
    b"\x80",
    b"../", b"/", b"=", b";", b" ", b"\r\n", b"\x1b[2J", b"true", b"[" * 3000, b'{"a":' * 2000, b"\xef\xbb\xbf",
    b"sha256:",
    b"<", b">", b"@", b"&a [*a]", b"!!python/object:x", b"- ", b"*", b"\xc2\xb2", b"0x7", b"7777777", b"\xe2\x80\xae",
)  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """Return a sound input with some bytes replaced, cut out, doubled, or others put in; or any bytes."""
    sound = seeds().get(name, ())
    if not sound or draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=600))
    raw = draw(st.sampled_from(sound))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(raw) - 1, 0)))
        length = draw(st.integers(0, 24))
        put = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8), st.just(raw[at : at + length])))
        raw = raw[:at] + put + raw[at + length :]
    return raw


@pytest.mark.parametrize("name", TARGETS)
def test_case_37_any_bytes_give_a_value_or_one_of_our_errors(name: str) -> None:
    @settings(
        max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(changed(name))
    def run(data: bytes) -> None:
        TARGETS[name](data)

    begun = time.monotonic()
    run()
    tally(37, COUNTED, {"targets": 1, "inputs": EXAMPLES}, {"took": time.monotonic() - begun})


@pytest.mark.parametrize("name", TARGETS)
def test_case_37_what_is_sound_and_what_was_found_once_is_survived(name: str) -> None:
    for data in (*seeds().get(name, ()), *FOUND.get(name, ()), b"", b"\0" * 1024):
        TARGETS[name](data)


def test_what_bundles_are_fuzzed_from_is_sound() -> None:
    """Else nothing behind the first check would ever be reached."""
    sound = seeds()
    assert BundleFile.read(sound["bundle_json"][0], "here").images
    assert Checksums.parse(sound["checksums"][0], "here").volumes
    with tempfile.TemporaryDirectory() as name:
        path = packed(Path(name) / "b.tar", sound["bundle"][0], members()[2].content)
        assert verify_bundle(path).sound


FOUND: dict[str, tuple[bytes, ...]] = {
    "plan": (b"[" * 100_000,),
    "checkpoint": (b"[" * 100_000, b'{"seconds":NaN}', b'{"seconds":1e999,"result":{"bytes":1e999}}'),
    "error_body": (b'{"errors":{"a":1}}',),
    "link": (b"x" + b" " * 60_000 + b"x",),
    "index": (b'{"schemaVersion":2,"manifests":[],"annotations":{"a":"\\ud800"}}',),
}
"""Inputs that once ended in a traceback, or did not end."""
