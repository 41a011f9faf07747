"""What recorded texts show: whether one holds a word of another, and what a short result says.

A word or a number that stands in a result and in a later argument is a dependency, however short,
but for what everybody says and what the earlier call was given itself.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from causepath_analyzer.model import Content, Outcome, ToolCall

_LONG: Final = 8
"""Characters of a value that is found inside a word, too."""
_TELLING: Final = 4
"""Characters of a word that stands in two texts by no chance."""
_MARKS: Final = ".,;:!?()[]\"'`"
_COMPARED: Final = 256
"""Texts at hand at once, each of 64 KB at the most: as many as calls that are compared."""
_WORD: Final = re.compile(r"[^\W_]+")
_PLAIN_WORD: Final = re.compile(r"[^\W\d_]+[.:!?]?\Z")
_COMMON: Final = frozenset(
    {
        "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "have", "he",
        "her", "his", "i", "in", "is", "it", "its", "me", "my", "no", "not", "of", "on", "or",
        "our", "she", "so", "some", "than", "that", "the", "their", "them", "then", "there",
        "these", "they", "this", "those", "to", "was", "we", "were", "what", "when", "which",
        "who", "will", "with", "you", "your", "all", "any", "do", "does", "how", "if", "into",
        "more", "most", "only", "out", "up", "about", "der", "die", "das", "und", "ist", "im",
        "ein", "eine", "von", "zu", "mit", "den", "für", "le", "la", "les", "et", "un", "une",
        "de", "des", "du", "en", "el", "los", "las", "y", "que", "del", "con", "por", "para",
        "o", "e", "os", "um", "uma", "il", "di", "che", "select", "where", "order", "limit",
        "group", "insert", "update", "values", "null", "true", "false",
    }
)  # fmt: skip
_OPTIONS: Final = frozenset(
    {
        "limit", "max", "max_results", "top_k", "top_n", "k", "n", "page", "page_size",
        "per_page", "size", "timeout", "offset", "depth",
    }
)  # fmt: skip
"""Arguments whose numbers a model chooses itself."""


def depends(given: Content | None, result: Content | None, later: Content | None) -> bool | None:
    """Tells whether the arguments `later` hold something of `result`, which was returned for
    `given`.

    ``None`` where a text is not known, or where a number may be counted and a word another form of
    one in the result.
    """
    if result is None or later is None:
        return None
    if later.digest == result.digest:
        return True
    returned, asked = text_of(result), text_of(later)
    if returned is None or asked is None:
        return None
    known = ((given is not None and text_of(given)) or "").casefold()
    searched = _as_read(returned)
    unsure = False
    for name, value in _leaves(asked):
        if value.casefold() in known and value:
            continue
        if len(value) >= _LONG and not _PLAIN_WORD.match(value) and value in searched:
            return True
        words = [word.casefold() for word in _WORD.findall(value)]
        for word in words:
            if (word in _COMMON and len(words) > 1) or _stands(word, known):
                continue
            if _stands(word, _said(returned)):
                return True
            if word.isdecimal():
                unsure = unsure or (name not in _OPTIONS and word in _numbers_of(returned))
            elif len(word) > 4:
                unsure = unsure or word[:4] in _beginnings(returned)
    asked = _as_read(asked)
    if any(
        len(value) >= _LONG and value in asked and value.casefold() not in known
        for _, value in _leaves(returned)
        if not _PLAIN_WORD.match(value)
    ):
        return True
    return None if unsure else False


def takes(result: Content | None, before: Sequence[Content | None], later: Content | None) -> bool:
    """Tells whether the arguments `later` have something of `result` that is no plain word in small
    letters, and that the arguments `before` have not."""
    returned, asked = (text_of(one) if one is not None else None for one in (result, later))
    if returned is None or asked is None:
        return False
    known = [text for one in before if one is not None and (text := text_of(one)) is not None]
    searched = _as_read(returned)
    return any(
        _stands(word, searched) and not any(_stands(word, text) for text in known)
        for name, value in _leaves(asked)
        if not (name in _OPTIONS and value.isdecimal())
        for word in _telling(value)
    )


def _telling(value: str) -> Iterator[str]:
    """Picks the words of `value` that stand in two texts by no chance."""
    words = value.split()
    if len(words) > 1 and words[0].istitle():
        del words[0]  # so begins a sentence
    for word in words:
        word = word.strip(_MARKS)
        if len(word) >= _TELLING and not (word.isalpha() and word.islower()):
            yield word


def in_own_words(given: Content | None, later: Content | None) -> bool:
    """Tells whether the arguments `later` hold a word that `given`, those of the call before, do
    not: a model may have worked it out from what that call returned."""
    asked = text_of(later) if later is not None else None
    if asked is None:
        return False
    known = ((given is not None and text_of(given)) or "").casefold()
    for name, value in _leaves(asked):
        words = [word.casefold() for word in _WORD.findall(value)]
        if any(
            not (word in _COMMON and len(words) > 1)
            and not (word.isdecimal() and name in _OPTIONS)
            and not _stands(word, known)
            for word in words
        ):
            return True
    return False


def moves_on(given: Content | None, later: Content | None) -> bool:
    """Tells whether the arguments `later` are `given` but for a number that has grown, as where
    the next page is asked for: whether there is one, the page before says."""
    before = text_of(given) if given is not None else None
    after = text_of(later) if later is not None else None
    if before is None or after is None:
        return False
    one, other = _numbered(before), _numbered(after)
    if one is None or other is None or one.keys() - other.keys():
        return False
    new = other.keys() - one.keys()
    if any(name.casefold() not in _COUNTERS for name in new):
        return False
    changed = [name for name in one if one[name] != other[name]]
    return bool(changed or new) and all(
        _has_grown(name, one[name], other[name]) for name in changed
    )


def _numbered(arguments: str) -> dict[str, object] | None:
    """Reads arguments that have names."""
    data = _read(arguments)
    return {str(name): value for name, value in data.items()} if isinstance(data, dict) else None


def _has_grown(name: str, before: object, after: object) -> bool:
    """Tells whether an argument called `name` counts on; what an id is called does not count."""
    if type(before) is int and type(after) is int:
        return after > before and not _ID.search(name)
    if not isinstance(before, str) or not isinstance(after, str):
        return False
    if name.casefold() in _COUNTERS and before.isdecimal() and after.isdecimal():
        return int(after) > int(before)
    return before != after and _PAGE.sub(r"\1", before) == _PAGE.sub(r"\1", after)


_ID: Final = re.compile(r"(?:^|[_-])(?:id|no|number|key|zip|code|year)$|[a-z]I[dD]$", re.IGNORECASE)
"""Names of arguments whose numbers name something."""
_COUNTERS: Final = frozenset(
    {
        "page", "page_number", "pagenumber", "page_no", "page_num", "offset", "skip", "start",
        "from", "cursor", "index", "start_index", "startindex", "start_line", "position",
    }
)  # fmt: skip
"""Arguments that say from where on a list is asked for."""
_PAGE: Final = re.compile(
    r"\b((?:page|page_?(?:number|no|num)|offset|skip|start|from|cursor)[=/])\d{1,12}\b",
    re.IGNORECASE,
)


def text_of(content: Content) -> str | None:
    """The text of recorded content, if it was kept."""
    if content.text is not None or content.packed is None:
        return content.text
    return _unpacked(content.packed)


@lru_cache(maxsize=_COMPARED)
def _unpacked(packed: bytes) -> str:
    import zstandard  # only traces with long results wait for it

    return zstandard.ZstdDecompressor().decompress(packed).decode("utf-8", "surrogatepass")


@lru_cache(maxsize=_COMPARED)
def _as_read(text: str) -> str:
    """`text`, and without the escapes of JSON where there are some."""
    return "\n".join((text, *(value for _, value in _leaves(text)))) if "\\" in text else text


@lru_cache(maxsize=_COMPARED)
def _said(text: str) -> str:
    """The values in `text`, in small letters: what the parts of JSON are called says nothing."""
    return "\n".join(value for _, value in _leaves(text)).casefold()


@lru_cache(maxsize=_COMPARED)
def _beginnings(text: str) -> frozenset[str]:
    return frozenset(word[:4] for word in _WORD.findall(_said(text)) if len(word) > 4)


@lru_cache(maxsize=_COMPARED)
def _leaves(text: str) -> tuple[tuple[str, str], ...]:
    """The values in JSON `text` with the names that they have there; any other text is one."""
    return tuple(_named(_read(text)))


def _read(text: str) -> object:
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return text


def _named(value: object) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, object]] = [("", value)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((str(key), one) for key, one in value.items())
        elif isinstance(value, list):
            waiting.extend((name, one) for one in value)
        elif isinstance(value, str):
            if value.strip():
                yield name, value.strip()
        elif value is not None and not isinstance(value, bool):
            yield name, str(value)


def _stands(word: str, text: str) -> bool:
    """Tells whether `word` is in `text`, not as a part of another word."""
    at, length = text.find(word), len(word)
    while at >= 0:
        after = at + length
        if not ((at and text[at - 1].isalnum()) or (after < len(text) and text[after].isalnum())):
            return True
        at = text.find(word, at + 1)
    return False


@lru_cache(maxsize=_COMPARED)
def _numbers_of(text: str) -> frozenset[str]:
    """Lists how long `text` is, and how many items are in it."""
    found = {len(text), len(text.split()), len(text.splitlines())}
    found |= {text.count(mark) + 1 for mark in ",;"}
    waiting = [_read(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            found.add(len(value))
            waiting += value.values() if isinstance(value, dict) else value
    numbers = [int(number) for number in re.findall(r"\b\d{1,9}\b", text)][:8]
    found.add(sum(numbers))
    for one in numbers:
        found |= {one - 1, one + 1}
    return frozenset(str(number) for number in found if number > 1)


# -- what a result says

_ERROR: Final = 2_000
"""Characters of a result that may be no more than an error."""
_SHORT: Final = 200
"""Of one in which an error may be told anywhere; a longer one begins with it."""
_FAILS: Final = re.compile(
    r"\b(error|errno|exception|traceback|fail(ed|ure|s)?|denied|refused|forbidden|unauthori[sz]ed|"
    r"invalid|not[\W_]?found|no such|does(n.t| not) exist|"
    r"no (results?|match(es)?|hits?|rows?|records?)|"
    r"nothing (was )?found|(can ?not|can.t|could(n.t| not)|unable to|failed to)|"
    r"timed? ?out|rate.?limit(ed)?|too many requests|unavailable|overloaded|quota|"
    r"not (allowed|permitted|available|supported|authori[sz]ed)|permission|try again|missing|"
    r"required|aborted|cancel+ed|crash(ed)?|rejected|blocked|bad request|"
    r"fehler\w*|erreur|fallo|erro|falha|errore|"
    r"(http|status)\W{0,3}(code\W{0,3})?[45]\d\d)\b|失败|错误|エラー|失敗",
    re.IGNORECASE,
)
_FAILS_AT_ONCE: Final = re.compile(
    r"\W{0,4}(error|exception|traceback|fail|fatal|denied|invalid|forbidden|warning)", re.IGNORECASE
)
_DONE_SO_FAR: Final = re.compile(r"\d{1,3}(?:\.\d+)?%")
_SAYS: Final = frozenset(
    {
        "true", "false", "yes", "no", "ok", "okay", "none", "null", "on", "off", "open",
        "closed", "done", "success", "succeeded", "passed", "pass", "valid", "available",
        "free", "busy", "taken", "empty", "exists", "present", "absent", "enabled", "disabled",
        "active", "inactive", "allowed", "approved", "pending", "running", "ready", "queued",
        "sent", "saved", "created", "updated", "deleted", "0", "1", "ja", "nein", "oui", "non",
        "si", "sim", "não",
    }
)  # fmt: skip
_ERROR_NAMES: Final = frozenset(("error", "errors", "exception", "error_message", "err"))
_ALL_WELL: Final = frozenset(("ok", "success", "succeeded"))


def outcome_of(tool: ToolCall) -> Outcome | None:
    """Classifies the result of `tool`, if it is so short that it can say little else."""
    if tool.outcome is not None or tool.result is None:
        return tool.outcome
    text = text_of(tool.result)
    return _outcome(text) if text is not None else None


@lru_cache(maxsize=_COMPARED)
def _outcome(result: str) -> Outcome | None:
    if len(result) > _ERROR:
        return "failure" if _FAILS_AT_ONCE.match(result) else None
    data = _read(result)
    if isinstance(data, dict):
        told = {str(key).casefold(): value for key, value in data.items()}
        if any(told.get(name) for name in _ERROR_NAMES):
            return "failure"
        if any(told.get(name) is False for name in _ALL_WELL):
            return "failure"
        code = told.get("status_code", told.get("code", told.get("status")))
        if type(code) is int and 400 <= code < 600:
            return "failure"
    text = " ".join(value for _, value in _named(data))
    if _FAILS.search(text) if len(text) <= _SHORT else _FAILS_AT_ONCE.match(text):
        return "failure"
    words = text.casefold().strip(" .!").split()
    if not words or (len(words) <= 2 and any(map(_is_state, words))):
        return "verdict"
    return None


def _is_state(word: str) -> bool:
    return word in _SAYS or _DONE_SO_FAR.fullmatch(word) is not None


# -- what a name says

_WRITES: Final = frozenset(
    {
        "mv", "cp", "ln", "link", "unlink", "export", "draw",
        "write", "save", "store", "put", "patch", "set", "add", "append", "insert", "create",
        "make", "mkdir", "touch", "update", "upsert", "edit", "modify", "replace", "rename",
        "delete", "remove", "rm", "drop", "clear", "reset", "send", "notify", "publish",
        "submit", "upload", "download", "install", "deploy", "start", "stop", "restart", "run",
        "exec", "execute", "eval", "shell", "bash", "terminal", "commit", "push", "merge",
        "apply", "close", "login", "logout", "connect", "click", "press", "scroll", "goto",
        "navigate", "drag", "fill", "buy", "pay", "purchase", "transfer", "charge", "refund",
        "cancel", "reserve", "approve", "assign", "enable", "disable", "lock", "unlock",
        "grant", "revoke", "register", "subscribe", "enqueue", "dequeue", "pop", "increment",
        "decrement", "roll", "reply", "comment", "trigger", "launch", "kill", "switch", "cd",
        "chdir", "restore", "import", "sync", "remember", "memorize", "finish", "complete",
        "mark", "confirm", "accept", "reject", "allocate", "attach", "detach", "archive",
        "migrate", "build", "compile", "format", "init", "invite",
    }
)  # fmt: skip
_WRITES_FIRST: Final = frozenset(
    {
        "order", "book", "schedule", "record", "log", "call", "message", "mail", "email",
        "post", "code", "python", "command", "move", "copy", "change", "load", "use", "type",
        "next", "open", "select", "sign", "vote", "turn", "step", "do", "act", "perform",
        "checkout", "draft", "plan", "reindex", "process", "handle", "repl", "browser",
        "computer",
    }
)  # fmt: skip
"""Words that are verbs only where they come first."""
_READS: Final = frozenset(
    {
        "get", "search", "find", "list", "read", "fetch", "lookup", "look", "check", "query",
        "show", "view", "count", "describe", "retrieve", "grep", "glob", "ls", "cat", "head",
        "tail", "stat", "diff", "is", "has", "can", "calculate", "compute", "convert",
        "translate", "summarize", "summarise", "classify", "validate", "verify", "compare",
        "analyze", "analyse", "estimate", "predict", "rank", "recommend", "detect", "parse",
        "extract", "explain", "inspect", "peek",
    }
)  # fmt: skip
_READS_LAST: Final = frozenset(("search", "lookup", "fetch", "retrieve", "find", "read", "get"))
"""Verbs that also stand behind what they are done to."""
_PART_OF_NAME: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


_BY_ITSELF: Final = frozenset(
    {
        "alive", "availability", "balance", "clock", "clipboard", "current", "cursor", "date",
        "events", "forecast", "health", "inbox", "job", "jobs", "latest", "live", "lock", "log",
        "logs", "mail", "mails", "messages", "metrics", "more", "new", "news", "next", "now",
        "page", "pending", "ping", "poll", "price", "prices", "progress", "queue", "quote",
        "random", "ready", "recent", "sample", "screen", "screenshot", "snapshot", "state",
        "status", "stdout", "stock", "task", "tasks", "time", "today", "uuid", "wait", "weather",
    }
)  # fmt: skip
"""Words for what another look may find changed, or for the next part of something."""
_SLOWLY: Final = frozenset(("forecast", "forecasts", "headlines", "news", "weather"))
"""Of these, what nobody finds changed who looks again after a few seconds ..."""
_LATEST: Final = frozenset(("current", "latest", "live", "new", "now", "recent", "today"))
"""... however new it is said to be."""


@lru_cache(maxsize=1024)
def changes_by_itself(name: str) -> bool:
    """Tells whether a tool is called after something that another look may find changed."""
    parts = (part.lower() for part in _PART_OF_NAME.findall(name))
    return not (_BY_ITSELF | _SLOWLY).isdisjoint(parts)


@lru_cache(maxsize=1024)
def changes_slowly(name: str) -> bool:
    """Tells whether what a tool is called after changes by itself, but not from one second to the
    next: a forecast does, the state of a queue does not."""
    parts = {part.lower() for part in _PART_OF_NAME.findall(name)}
    return not _SLOWLY.isdisjoint(parts) and _BY_ITSELF.isdisjoint(parts - _SLOWLY - _LATEST)


@lru_cache(maxsize=1024)
def says_it_reads(name: str) -> bool:
    """Tells whether a tool is called after looking at something: ``get_page``, ``web_search``."""
    parts = [part.lower() for part in _PART_OF_NAME.findall(name)]
    if not parts or says_it_writes(name):
        return False
    return parts[0] in _READS or parts[-1] in _READS_LAST


@lru_cache(maxsize=1024)
def says_it_writes(name: str) -> bool:
    """Tells whether a tool is called after something that changes what others see."""
    parts = [part.lower() for part in _PART_OF_NAME.findall(name)]
    if not parts:
        return False
    if parts[0] in _READS:
        return "and" in parts or "replace" in parts
    return parts[0] in _WRITES_FIRST or any(part in _WRITES for part in parts)


@lru_cache(maxsize=1024)
def things_in(name: str) -> frozenset[str]:
    """Lists the words of a tool's name that say what it looks at or changes."""
    parts = (part.lower() for part in _PART_OF_NAME.findall(name))
    verbs = _READS | _WRITES | _WRITES_FIRST | _SMALL
    return frozenset(part.removesuffix("s") for part in parts if part not in verbs)


_SMALL: Final = frozenset(
    {"a", "all", "and", "at", "by", "data", "for", "from", "in", "into", "my", "of", "on", "the",
     "to", "tool", "with"}
)  # fmt: skip


# -- what arguments name

_MOST_PLACES: Final = 16
_SEARCHED: Final = 4_096
"""Characters of one argument: what is to be written somewhere is no name."""
_NAMES: Final = frozenset(
    {
        "path", "file", "filename", "dir", "directory", "folder", "url", "uri", "address",
        "email", "to", "key", "id", "table", "account", "user", "repo", "branch", "channel",
        "bucket", "queue", "topic",
    }
)  # fmt: skip
"""Arguments whose values name something whatever they look like."""
_PART: Final = re.compile(r"[^\s\"'`(),;<>|&=\[\]{}]+")
_AROUND: Final = re.compile(r"^(?:[:!?]|\.{3,}(?![./\\]))+|(?<![/\\.:!?])[.:!?]+$")
"""Punctuation around a word. The dots that ``./a``, ``../a`` and ``.a`` begin with are theirs."""
_FILE: Final = re.compile(r"\.?[\w-]*\w\.[A-Za-z]\w{0,5}")
_DATE: Final = re.compile(
    r"\d{4}-\d\d(-\d\d)?(T[\d:.Z+-]+)?|\d\d?:\d\d(:\d\d)?|[\d.,]{1,2}|\d+[.,]\d+|\d+/\d+"
)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d")


def places_of(tool: ToolCall) -> frozenset[str] | None:
    """Lists what the arguments of `tool` name: paths, addresses, ids; ``None`` if they were not
    recorded.

    ``at:`` what is named itself, ``in:`` what it lies in and what it is called there, ``is:`` any
    other short value, which may name something.
    """
    if tool.places:
        return frozenset(tool.places)
    text = text_of(tool.arguments) if tool.arguments is not None else None
    return _places(text) if text is not None else None


@lru_cache(maxsize=_COMPARED)
def _places(arguments: str) -> frozenset[str]:
    found: dict[str, None] = {}
    for name, text in _leaves(arguments):
        if len(text) > _SEARCHED:
            continue
        of = name.casefold()
        if of in _NAMES or of.endswith(("_id", "_path", "_file", "_url")):
            found[f"at:{_place(text)}"] = None
        elif 1 < len(text) <= 80 and not _DATE.fullmatch(text):
            found[f"is:{text.casefold()}"] = None
        # Letters alone name nothing, and most words are no more.
        if not "".join(text.split()).isalpha():
            for part in _PART.findall(text):
                word = _AROUND.sub("", part)
                if not word.isalpha():
                    found.update(dict.fromkeys(_named_by(word)))
        if len(found) >= _MOST_PLACES:
            break
    return frozenset(list(found)[:_MOST_PLACES])


def _named_by(part: str) -> Iterator[str]:
    if _DATE.fullmatch(part) or not part:
        return
    place = _place(part)
    if "/" in (part.rstrip("/") or part) or "\\" in part:
        yield f"at:{place}"
        parts = place.replace("\\", "/").split("/")
        if len(parts) > 1 and parts[-1] and "://" not in place:
            yield f"in:{parts[-1]}"
        for end in range(len(parts) - 1, max(0, len(parts) - 5), -1):
            above = "/".join(parts[:end])
            if above and not above.endswith((":", ":/")):
                yield f"in:{above}"
    elif (
        "@" in place
        or _FILE.fullmatch(place)
        or (len(place) > 2 and any(map(str.isdigit, place)) and not _DAY.match(place))
    ):
        yield f"at:{place}"


def _place(text: str) -> str:
    r"""Writes a place in one way: `./a`, `b/../a` and `b\..\a` are `a`.

    Only what surely is above is left out: not a drive or a host, nor another `..`. Where a
    backslash comes first, it may be no separator but an escape.
    """
    place = text.rstrip("/").partition("#")[0] or text
    if "://" in place or place[0] == "\\" or not ("/" in place or "\\" in place):
        return place
    root = "/" if place[0] == "/" else ""
    kept: list[str] = []
    for part in place.replace("\\", "/").split("/"):
        if part == ".." and kept and kept[-1] != ".." and ":" not in kept[-1]:
            kept.pop()
        elif part not in ("", ".") and not (part == ".." and root and not kept):
            kept.append(part)
    return root + "/".join(kept) or "."


Meeting = tuple[str, str]


def meet(one: Iterable[str], other: Iterable[str], *, values: bool = False) -> str | None:
    """A place that both name, without how; with `values` also a value that both have."""
    first, second = _by_kind(one), _by_kind(other)
    pairs: Sequence[Meeting] = (("at", "at"), ("at", "in"), ("in", "at"))
    if values:
        pairs = (*pairs, ("is", "is"), ("is", "at"), ("at", "is"))
    for how, also in pairs:
        both = first.get(how, set()) & second.get(also, set())
        if both:
            return min(both)
    return None


def _by_kind(places: Iterable[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for place in places:
        how, _, named = place.partition(":")
        found.setdefault(how, set()).add(named)
    return found
