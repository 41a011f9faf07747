"""What ``console.dir`` and ``console.log`` of Node.js print of an object, as JSON.

Keys without quotes, strings in three kinds of quotes and put together with ``+``, ``undefined``,
names of classes before brackets. What was cut short (``[Object]``, ``... 20 more items``) is left
out.
"""

import re
from typing import Final

import msgspec

_LOOKS: Final = re.compile(rb"\s*\{\s*\n?\s*[A-Za-z_$][\w$]*: ")
_TOKEN: Final = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)
  | (?P<cut>\.\.\.\ \d+\ more\ (?:items?|characters?))
  | (?P<left>\[(?:[A-Z][\w$]*|Object:\ null\ prototype|Circular\ \*\d+
             |(?:Function|Getter)[^\]\n]*)\])
  | (?P<reference><ref\ \*\d+>)
  | (?P<mark>[{}\[\],:+])
  | (?P<number>-?\d+(?:\.\d+)?(?:e[+-]?\d+)?n?(?![\w$]))
  | (?P<word>[A-Za-z_$][\w$]*(?:\(\d+\))?)
    """,
    re.VERBOSE,
)
_COLOURS: Final = re.compile(rb"\x1b\[[\d;]*m")
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v", "0": "\0"}
_LITERALS: Final = {"true": "true", "false": "false"}


def as_json(text: bytes) -> bytes | None:
    """`text` as JSON; ``None`` if it is not what Node.js prints of one object."""
    if _LOOKS.match(text) is None:
        return None
    try:
        written = _written(_COLOURS.sub(b"", text).decode())
    except (UnicodeDecodeError, ValueError):
        return None
    return written.encode("utf-8", "replace")


def _written(text: str) -> str:
    """Raises `ValueError` where `text` has something else."""
    found: list[str] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError
        at = token.end()
        match token.lastgroup:
            case "space" | "reference":
                continue
            case "string":
                _put_string(found, _plain(token[0][1:-1]))
            case "cut":
                _drop_comma(found)
            case "left" if text[at : at + 2] not in (" {", " ["):
                found.append("null")
            case "left":
                continue
            case "number":
                found.append(token[0].removesuffix("n"))
            case "mark":
                if token[0] in "}]":
                    _drop_comma(found)
                found.append(token[0])
            case _:
                _put_word(found, token[0], text[at : at + 2])
    return "".join(found)


def _plain(quoted: str) -> str:
    def plain(match: re.Match[str]) -> str:
        said = match[1]
        if said[0] in "xu" and len(said) > 1:
            return chr(int(said[1:], 16))
        return _ESCAPES.get(said, said)

    return _ESCAPE.sub(plain, quoted)


def _put_string(found: list[str], text: str) -> None:
    if len(found) > 1 and found[-1] == "+":
        found.pop()
        before = found.pop()
        text = msgspec.json.decode(before, type=str) + text
    found.append(msgspec.json.encode(text.encode("utf-8", "replace").decode()).decode())


def _put_word(found: list[str], word: str, then: str) -> None:
    if then[:1] == ":":
        found.append(f'"{word}"')
    elif word in _LITERALS:
        found.append(_LITERALS[word])
    elif then in (" {", " ["):
        return  # the name of a class
    else:
        found.append("null")


def _drop_comma(found: list[str]) -> None:
    if found and found[-1] == ",":
        found.pop()
