"""registries.conf as files and values: which are read, what they mean, what is refused and where."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.errors import DeniedError, UsageError
from transship.pipeline.registry.config_files import drop_ins, first_file
from transship.pipeline.registry.namespaces import Endpoint, Namespace, RegistriesConf, match
from transship.pipeline.registry.registries_conf import read

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,3}", fullmatch=True)
HOST = st.builds(".".join, st.lists(LABEL, min_size=2, max_size=4))
PATH = st.lists(LABEL, min_size=1, max_size=4)
PLACES = ("user/containers", "etc", "usr")


def parsed(folder: Path, text: str) -> RegistriesConf:
    path = folder / "registries.conf"
    path.write_text(text)
    return read({}, str(path), ())


def written(folder: Path, files: Mapping[str, str]) -> tuple[dict[str, str], tuple[Path, ...]]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {"XDG_CONFIG_HOME": str(folder / "user")}, (folder / "etc", folder / "usr")


def search(*names: str) -> str:
    return f"unqualified-search-registries = {list(names)}\n"


def image(text: str) -> DockerReference:
    return DockerReference.parse(text)


def test_the_users_file_counts_before_the_administrators_and_that_before_the_distributions(tmp_path: Path) -> None:
    environ, system = written(tmp_path, {f"{place}/registries.conf": search(place[:3]) for place in PLACES})
    for place in PLACES:
        assert read(environ, "", system).search == (place[:3],)
        (tmp_path / place / "registries.conf").unlink()
    assert read(environ, "", system) == RegistriesConf()
    assert first_file("registries.conf", {"HOME": str(tmp_path)}, ()) is None


def test_a_named_file_and_the_variable_replace_the_main_file_and_the_variable_the_drop_ins_too(tmp_path: Path) -> None:
    environ, system = written(
        tmp_path,
        {
            "user/containers/registries.conf": search("user"),
            "etc/registries.conf.d/a.conf": 'credential-helpers = ["one"]\n',
            "named": search("named"),
            "variable": search("variable"),
            "last": search("last"),
        },
    )
    environ |= {"CONTAINERS_REGISTRIES_CONF": str(tmp_path / "variable")}
    assert read(environ, "", system) == RegistriesConf(search=("variable",))
    found = read(environ, str(tmp_path / "named"), system)
    assert (found.search, found.helpers) == (("named",), ("one",))
    environ |= {"CONTAINERS_REGISTRIES_CONF_OVERRIDE": str(tmp_path / "last")}
    assert read(environ, "", system).search == ("last",)


@pytest.mark.parametrize("variable", ["CONTAINERS_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF_OVERRIDE"])
def test_a_file_that_is_named_must_be_there(tmp_path: Path, variable: str) -> None:
    missing = str(tmp_path / "missing")
    with pytest.raises(UsageError, match="missing: No such file"):
        read({variable: missing}, "", ())
    with pytest.raises(UsageError, match="missing: No such file"):
        read({}, missing, ())


def test_drop_ins_go_by_name_alone_and_of_one_name_the_users_counts(tmp_path: Path) -> None:
    names = (
        "usr/registries.conf.d/10-a.conf",
        "usr/registries.conf.d/40-d.conf",
        "etc/registries.conf.d/30-c.conf",
        "etc/registries.conf.d/40-d.conf",
        "etc/registries.rootful.conf.d/20-b.conf",
        "etc/registries.rootless.conf.d/20-b.conf",
        "etc/registries.rootless.conf.d/7/25-b.conf",
        "user/containers/registries.conf.d/30-c.conf",
        "user/containers/registries.conf.d/README",
    )
    environ, system = written(tmp_path, dict.fromkeys(names, ""))
    (tmp_path / "etc/registries.conf.d/50-folder.conf").mkdir()

    def order(user: int) -> list[str]:
        found = drop_ins("registries", ".conf", environ, system, user)
        return [str(path.relative_to(tmp_path)) for path in found]

    assert order(0) == [names[0], names[4], names[7], names[3]]
    assert order(7) == [names[0], names[5], names[6], names[7], names[3]]
    assert order(8) == [names[0], names[5], names[7], names[3]]


def test_a_later_file_replaces_lists_and_namespaces_of_the_same_prefix_and_adds_others(tmp_path: Path) -> None:
    environ, system = written(
        tmp_path,
        {
            "etc/registries.conf": search("one")
            + '[[registry]]\nprefix = "a.example/x"\nlocation = "b.example"\n[[registry]]\nlocation = "c.example"\n',
            "etc/registries.conf.d/1.conf": '[[registry]]\nprefix = "a.example/x"\nlocation = "d.example"\n',
            "etc/registries.conf.d/2.conf": "unqualified-search-registries = []\n",
        },
    )
    found = read(environ, "", system)
    assert found.search == ()
    assert [(one.prefix, one.primary.location) for one in found.namespaces] == [
        ("a.example/x", "d.example"),
        ("c.example", "c.example"),
    ]


def test_all_that_a_file_may_say_is_read(tmp_path: Path) -> None:
    found = parsed(
        tmp_path,
        """
unqualified-search-registries = ["one.example", "two.example:5000/"]
credential-helpers = ["containers-auth.json", "pass"]
short-name-mode = "enforcing"
something-new = 1

[aliases]
"app" = "one.example/team/app"
"gone" = ""

[[registry]]
Prefix = "*.example.org"
BLOCKED = true

[[registry]]
location = "one.example/"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m.example/one"
insecure = true
[[registry.mirror]]
location = "n.example"
""",
    )
    origin = tmp_path / "registries.conf"
    assert found == RegistriesConf(
        (
            Namespace("*.example.org", Endpoint(""), blocked=True, origin=f"{origin}:11"),
            Namespace(
                "one.example",
                Endpoint("one.example"),
                (Endpoint("m.example/one", True, "digest-only"), Endpoint("n.example", False, "digest-only")),
                origin=f"{origin}:15",
            ),
        ),
        ("one.example", "two.example:5000"),
        ("containers-auth.json", "pass"),
    )


SOUND = '[[registry]]\nlocation = "a.example"\n'


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("\nx = [", 2, "not TOML"),
        ("x = 1\nx = 2\n", 2, "not TOML"),
        ("# fine\n[registries.search]\nregistries = []\n", 2, "version 1"),
        ("\n[registries.block]\nregistries = ['a.example']\n", 2, "version 1"),
        ("\n[[registry]]\ninsecure = true\n", 2, "location: is missing"),
        (SOUND + "\ninsecure = 'yes'\n", 4, "insecure: expected true or false"),
        (SOUND + "blocked = 1\n", 3, "blocked: expected"),
        ("[[registry]]\nlocation = 5\n", 2, "location: expected a text"),
        ("[[registry]]\nlocation = 'https://a.example'\n", 2, "is a URL"),
        ("[[registry]]\nprefix = 'a.example/x'\n", 1, "location: is missing"),
        ("[[registry]]\nprefix = '*.example.com/foo'\n", 2, "prefix"),
        (SOUND + "pull-from-mirror = 'all'\n", 3, "belongs into"),
        (SOUND + "[[registry.mirror]]\ninsecure = true\n", 3, "location: is missing"),
        (SOUND + "[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'some'\n", 5, "'some'"),
        (
            SOUND + "mirror-by-digest-only = true\n[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'all'\n",
            6,
            "exclude each other",
        ),
        (SOUND + "\n[[registry]]\nprefix = 'b.example'\nlocation = 'a.example'\ninsecure = true\n", 7, "insecure"),
        (SOUND + "\n[[registry]]\nprefix = 'b.example'\nlocation = 'a.example'\nblocked = true\n", 7, "blocked"),
        ("\nunqualified-search-registries = ['a.example/b']\n", 2, "is no host"),
        ("\ncredential-helpers = 'pass'\n", 2, "expected a list"),
        ("\nshort-name-mode = 'maybe'\n", 2, "'maybe'"),
        ("[aliases]\n'a.example/b' = 'a.example/c'\n", 2, "alias"),
        ("[aliases]\nfine = 'a.example/c'\nb = 'c'\n", 3, "alias"),
        ("[aliases]\nb = 'a.example/c:tag'\n", 2, "alias"),
        ("registry = 1\n", 1, "registry: expected"),
    ],
)
def test_what_is_malformed_names_file_and_line_and_skopeo_refuses_it_too(
    tmp_path: Path, text: str, line: int, why: str
) -> None:
    path = tmp_path / "registries.conf"
    with pytest.raises(UsageError) as caught:
        parsed(tmp_path, text)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    assert why in caught.value.message
    # The skopeo installed here still reads version 1.
    if why != "version 1":
        words = ["skopeo", "--registries-conf", str(path), "inspect", "docker://localhost:1/x"]
        theirs = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (theirs.returncode, "loading registries" in theirs.stderr) == (1, True), theirs.stderr


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(b"# one\n# \xff\n")
    with pytest.raises(UsageError, match=r"c:2: not UTF-8"):
        read({}, str(tmp_path / "c"), ())


@pytest.mark.parametrize(
    "text",
    ["[aliases]\n'x' = 1\n", '[aliases]\n"x" = "a.example/b"\n"x" = "a.example/b"\n', '"x" = "a.example/b" # y\n['],
)
def test_a_file_of_aliases_is_passed_over_only_where_all_of_it_is_sound(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"registries\.conf:"):
        parsed(tmp_path, text)


@given(HOST, PATH, st.integers(0, 4), st.sampled_from([":v1", f"@sha256:{'0' * 64}"]))
def test_a_prefix_matches_whole_parts_of_a_name_and_no_less(
    host: str, path: list[str], count: int, suffix: str
) -> None:
    name = "/".join([host, *path]) + suffix
    prefix = "/".join([host, *path[:count]])
    assert match(name, prefix) == len(prefix)
    assert match(name, prefix + "x") is None
    assert match(name, prefix[:-1]) is None
    assert match(name, name) == len(name)


@given(HOST, PATH, st.integers(0, 3), st.sampled_from(["", ":5000"]))
def test_a_wildcard_matches_what_is_below_its_domain_up_to_the_end_of_the_host(
    host: str, path: list[str], count: int, port: str
) -> None:
    labels = host.split(".")
    name = f"{host}{port}/{'/'.join(path)}:v1"
    below = match(name, "*." + ".".join(labels[count:]))
    assert below == (len(host) if 0 < count < len(labels) else None)
    assert match(name, "*." + host) is None
    assert match(name, f"*.x{'.'.join(labels[1:])}") is None


@given(HOST, PATH, st.permutations(range(4)))
def test_the_longest_prefix_decides_alone_whatever_the_order(host: str, path: list[str], order: list[int]) -> None:
    parts = [host, *path]
    all_of_them = [
        Namespace("/".join(parts[:count]), Endpoint(f"number{count}.example")) for count in range(1, len(parts) + 1)
    ]
    shuffled = sorted(all_of_them, key=lambda one: order[one.prefix.count("/") % 4])
    reference = image("/".join(parts) + ":v1")
    found = RegistriesConf(tuple(shuffled)).find(str(reference).removeprefix("docker://"))
    assert found == all_of_them[-1]


@given(HOST, PATH, HOST, PATH)
def test_what_is_moved_keeps_all_that_follows_the_prefix(
    host: str, path: list[str], other: str, below: list[str]
) -> None:
    conf = RegistriesConf((Namespace(host, Endpoint("/".join([other, *below]))),))
    for suffix in (":v1", f"@sha256:{'1' * 64}"):
        moved = conf.primary(image("/".join([host, *path]) + suffix)).reference
        assert str(moved) == f"docker://{'/'.join([other, *below, *path])}{suffix}"
    listed = conf.primary(DockerReference.parse_repository(f"docker://{'/'.join([host, *path])}")).reference
    assert str(listed) == f"docker://{'/'.join([other, *below, *path])}"


def test_a_wildcard_without_a_location_moves_nothing_and_one_with_it_replaces_the_host() -> None:
    reference = image("deep.sub.example.com/team/app:v1")
    still = RegistriesConf((Namespace("*.example.com", Endpoint("", True)),))
    assert still.primary(reference) == (reference, True, "")
    moved = RegistriesConf((Namespace("*.example.com", Endpoint("real.example/x")),))
    assert moved.primary(reference).reference == image("real.example/x/team/app:v1")


@pytest.mark.parametrize("location", ["nohost", "docker.io", "real.example/Upper", "index.docker.io/library"])
def test_a_location_that_makes_no_full_name_is_refused_and_says_where_it_stands(location: str) -> None:
    conf = RegistriesConf((Namespace("a.example", Endpoint(location), origin="the-file:3"),))
    with pytest.raises(UsageError, match=r"the-file:3: docker://a\.example/app:v1 would be"):
        conf.primary(image("a.example/app:v1"))


def test_blocks_hold_for_the_name_and_for_where_it_is_and_leave_other_mirrors() -> None:
    blocked = Namespace("bad.example", Endpoint("bad.example"), blocked=True, origin="f:1")
    to_bad = Namespace("a.example", Endpoint("bad.example/x"), (Endpoint("bad.example/m"), Endpoint("m.example")))
    conf = RegistriesConf((blocked, to_bad))
    assert [place.reference for place in conf.to_read(image("a.example/app:v1"))] == [image("m.example/app:v1")]
    for name in ("a.example/app:v1", "bad.example/app:v1"):
        with pytest.raises(DeniedError, match="blocked by f:1"):
            conf.primary(image(name)).checked()
    with pytest.raises(DeniedError, match="blocked by f:1"):
        conf.to_read(image("bad.example/app:v1"))
    assert conf.registry("bad.example") == (False, "f:1")
    assert conf.registry("a.example") == (False, "")
    moved = RegistriesConf((Namespace("a.example", Endpoint("b.example"), blocked=True, origin="f:2"),))
    with pytest.raises(DeniedError, match="blocked by f:2"):
        moved.to_read(image("a.example/app:v1"))


def test_the_files_of_this_machine_are_read() -> None:
    assert read({"HOME": os.environ.get("HOME", "/")}).helpers
