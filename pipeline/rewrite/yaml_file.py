"""References in YAML (Kubernetes, Compose, any other) and JSON, by the scanner's places: nothing is written anew."""

from collections.abc import Iterator
from typing import Any, Final

import yaml

from transship.pipeline.errors import UsageError
from transship.pipeline.rewrite.spot import VARIABLE, Spot

_KEY: Final = "image"
_QUOTES: Final = frozenset({"'", '"'})
_PARSER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BESIDE: Final = (yaml.AnchorToken, yaml.TagToken)


def find(text: str, name: str) -> Iterator[Spot]:
    """Yield every value on one line: of the key ``image`` as an image, all others as what may be one.

    Raises:
        UsageError: the file ``name`` is not YAML; templates of Helm are not before they are rendered.
    """
    if name.lower().endswith(".json"):
        # JSON indents by tabs too; in its strings none stands.
        text = text.replace("\t", " ")
    try:
        # The scanner takes what is no document; the parser's places are not those of the words alone.
        for _ in yaml.parse(text, Loader=_PARSER):
            pass
        yield from _spots(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{name}{line}: not YAML: {error.problem}", advice="render templates first") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: not YAML: {str(error).splitlines()[0]}", advice="leave it out") from error


def _spots(text: str) -> Iterator[Spot]:
    key, expected = "", ""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.KeyToken | yaml.ValueToken):
            expected = "key" if isinstance(token, yaml.KeyToken) else "value"
        elif isinstance(token, yaml.ScalarToken):
            if expected == "key":
                key = token.value
            else:
                quoted = token.style in _QUOTES
                start, end = token.start_mark.index + quoted, token.end_mark.index - quoted
                # What is escaped, folded or a block is no reference, or not exactly.
                if text[start:end] == token.value:
                    yield _spot(start, token.value, image=expected == "value" and key == _KEY)
            expected = ""
        elif not isinstance(token, _BESIDE):
            expected = ""


def _spot(start: int, text: str, *, image: bool) -> Spot:
    # Compose fills in variables; what stands in for one that is unset is a reference.
    found = VARIABLE.fullmatch(text) if image else None
    if found and found[3]:
        return Spot(start + found.start(3), found[3])
    return Spot(start, text, image, variable=image and "$" in text)
