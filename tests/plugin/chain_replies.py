"""Answers for agents that chain calls: each answer has words that only it says."""

import json

from tests.support.script import Reply, Request, ToolUse


def chained(request: Request) -> Reply:
    """Answers by the first word of the latest question."""
    messages = request.body.get("messages") or request.body["contents"]  # the latter of Gemini
    content = messages[-1].get("content") or messages[-1]["parts"]
    question = content if isinstance(content, str) else content[0]["text"]
    word = question.split()[0]
    if word == "LIST":
        return Reply(json.dumps(["the history of tea", "the price of tea", "the taste of tea"]))
    if word == "WORK":
        return Reply(f"Everything worth knowing about {question.split(': ')[1]}, in one sentence.")
    if word == "EXTRACT":
        return Reply([ToolUse("topic", {"about": "the harbour of Almada"})])
    answers = {
        "LABEL": "Hardware",
        "TITLE": "Tea, slowly and without sugar",
        "SHORTEN": f"Tea without sugar, take {len(question)}",
        "PLAN": "1. origins in Yunnan  2. steeping temperatures  3. porcelain or clay",
        "DRAFT": "Tea came out of Yunnan long before anybody wrote about it in verse.",
    }
    return Reply(answers.get(word, f"An answer of its own to number {len(messages)}."))
