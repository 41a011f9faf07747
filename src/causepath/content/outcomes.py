"""What a result says about what comes next, where it is so short that it can say little else."""

from __future__ import annotations

import json
import re

from causepath.content.plain_data import leaves_in

FAILURE, VERDICT = "failure", "verdict"

MAX_TEXT = 2_000
"""Characters of a result that may be no more than an error."""

SHORT = 200
"""Of one in which an error may be told anywhere; a longer one begins with it."""

FAILS = re.compile(
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
FAILS_AT_ONCE = re.compile(
    r"\W{0,4}(error|exception|traceback|fail|fatal|denied|invalid|forbidden|warning)", re.IGNORECASE
)
SAYS = frozenset(
    {
        "true", "false", "yes", "no", "ok", "okay", "none", "null", "on", "off", "open",
        "closed", "done", "success", "succeeded", "passed", "pass", "valid", "available",
        "free", "busy", "taken", "empty", "exists", "present", "absent", "enabled", "disabled",
        "active", "inactive", "allowed", "approved", "pending", "running", "ready", "queued",
        "sent", "saved", "created", "updated", "deleted", "0", "1", "ja", "nein", "oui", "non",
        "si", "sim", "não",
    }
)  # fmt: skip
DONE_SO_FAR = re.compile(r"\d{1,3}(?:\.\d+)?%")
"""How far something is, as a state."""
ERROR_NAMES = frozenset({"error", "errors", "exception", "error_message", "err"})
ALL_WELL = frozenset({"ok", "success", "succeeded"})


def outcome_of(result: object) -> str | None:
    """`failure`, or `verdict`: a yes or no, a state, nothing at all. `None`: it says something."""
    if isinstance(result, str):
        if len(result) > MAX_TEXT:
            return FAILURE if FAILS_AT_ONCE.match(result) else None
        data: object = result
        if result[:1] in ("{", "["):
            try:
                data = json.loads(result)
            except (ValueError, RecursionError):
                data = result
    else:
        data = result
    if isinstance(data, dict):
        told = {str(key).casefold(): value for key, value in data.items()}
        if any(told.get(name) for name in ERROR_NAMES):
            return FAILURE
        if any(told.get(name) is False for name in ALL_WELL):
            return FAILURE
        code = told.get("status_code", told.get("code", told.get("status")))
        if type(code) is int and 400 <= code < 600:
            return FAILURE
    leaves = [str(value).strip() for _, value in leaves_in(data)]
    text = " ".join(leaves)
    if FAILS.search(text) if len(text) <= SHORT else FAILS_AT_ONCE.match(text):
        return FAILURE
    words = text.casefold().strip(" .!").split()
    if not words or (len(words) <= 2 and any(map(_is_state, words))):
        return VERDICT
    return None


def _is_state(word: str) -> bool:
    return word in SAYS or DONE_SO_FAR.fullmatch(word) is not None
