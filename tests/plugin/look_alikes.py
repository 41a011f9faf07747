"""Agents in which more than one call has the name and the arguments of a tool, `pay`.

The tool takes its time in `tool`, and what else has its name in `wait`. Each way gets a loop, which
it gives what carries out a call.
"""

# mypy: ignore-errors

from __future__ import annotations

import asyncio
import copy
import functools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

CLOCK: list[tuple[int, int]] = []
"""When the tool ran, by its own clock, in ns."""

OTHERS: list[tuple[int, int]] = []
"""When something else ran that has its name."""


def wait(seconds):
    began_ns = time.time_ns()
    threading.Event().wait(seconds)
    OTHERS.append((began_ns, time.time_ns()))


def tool(result):
    began_ns = time.time_ns()
    threading.Event().wait(0.03)
    CLOCK.append((began_ns, time.time_ns()))
    return result


async def tool_later(result):
    began_ns = time.time_ns()
    await asyncio.sleep(0.03)
    CLOCK.append((began_ns, time.time_ns()))
    return result


class Policy:
    def pay(self, amount, to):
        wait(0.05)
        return amount < 100


class Bank:
    def pay(self, amount, to):
        return tool(f"paid {amount} to {to}")


class Audit:
    def on_pay(self, amount, to):
        wait(0.04)


def objects_before_and_after(call):
    policy, bank, audit = Policy(), Bank(), Audit()

    def carry_out(block):
        assert getattr(policy, block.name)(**block.input)
        result = getattr(bank, block.name)(**block.input)
        getattr(audit, f"on_{block.name}")(**block.input)
        return result

    return call(carry_out)


def tables(call):
    allowed = {"pay": lambda **given: wait(0.05) or True}
    tools = {"pay": lambda **given: tool("paid " + str(given["amount"]))}
    return call(lambda b: tools[b.name](**b.input) if allowed[b.name](**b.input) else "refused")


def a_dry_run_of_its_own_name(call):
    simulated = {"pay": lambda amount, to: wait(0.05) or {"would": "pay", "amount": amount}}
    real = {"pay": lambda amount, to: tool({"receipt": f"r-{amount}", "to": to})}

    def carry_out(block):
        simulated[block.name](**block.input)
        return json.dumps(real[block.name](**block.input), indent=1)

    return call(carry_out)


def a_dry_run_of_the_same_function(call):
    def pay(amount, to, dry=False):
        if dry:
            wait(0.05)
            return f"would pay {amount}"
        return tool(f"paid {amount} to {to}")

    tools = {"pay": pay}

    def carry_out(block):
        tools[block.name](**block.input, dry=True)
        return tools[block.name](**block.input)

    return call(carry_out)


def a_logger_that_hands_the_result_on(call):
    tools = {"pay": lambda amount, to: tool(f"paid {amount} to {to}")}
    after = {"pay": lambda result: wait(0.05) or result}
    return call(lambda b: after[b.name](tools[b.name](**b.input)))


def validators_that_give_back_what_they_got(call):
    @dataclass
    class Checked:
        amount: int
        to: str

    class Validators:
        def pay(self, amount, to):
            wait(0.05)
            return Checked(amount, to)

    class Tools:
        def pay(self, checked):
            return tool(f"receipt of {checked.to}: {checked.amount}")

    validators, tools = Validators(), Tools()

    def carry_out(block):
        return getattr(tools, block.name)(getattr(validators, block.name)(**block.input))

    return call(carry_out)


def hooks_around(call):
    before = {"pay": lambda **given: wait(0.04)}
    after = {"pay": lambda **given: wait(0.05) or "logged"}
    tools = {"pay": lambda **given: tool({"status": "paid", "number": 7123})}

    def carry_out(block):
        before[block.name](**block.input)
        result = tools[block.name](**copy.deepcopy(block.input))
        after[block.name](**block.input)
        return f"Done: {result['status']}, number {result['number']}."

    return call(carry_out)


def a_cache_that_knows_nothing(call):
    class Cache:
        def pay(self, amount, to):
            wait(0.05)

    class Tools:
        def pay(self, amount, to):
            return tool(["paid", str(amount), to])

    cache, tools = Cache(), Tools()

    def carry_out(block):
        found = getattr(cache, block.name)(**block.input)
        return " ".join(found or getattr(tools, block.name)(**block.input))

    return call(carry_out)


def in_coroutines(call):
    class Policy:
        async def pay(self, amount, to):
            await asyncio.to_thread(wait, 0.05)
            return True

    async def pay(amount, to):
        return await tool_later(f"paid {amount} to {to}")

    policy, tools = Policy(), {"pay": pay}

    async def both(block):
        await getattr(policy, block.name)(**block.input)
        return await tools[block.name](**block.input)

    return call(lambda block: asyncio.run(both(block)))


def in_threads(call):
    allowed = {"pay": lambda **given: wait(0.05) or True}
    tools = {"pay": lambda **given: tool(f"paid {given['amount']}")}

    def carry_out(block):
        with ThreadPoolExecutor(2) as pool:
            pool.submit(allowed[block.name], **block.input).result()
            return pool.submit(tools[block.name], **block.input).result()

    return call(carry_out)


def all_checks_before_all_tools(call):
    policy, tools = Policy(), {"pay": lambda amount, to: tool(f"paid {amount} to {to}")}
    checked = []

    def carry_out(block):
        checked.append(getattr(policy, block.name)(**block.input))
        return tools[block.name](**block.input)

    return call(carry_out)


def decorated_by_a_guard(call):
    def guarded(function):
        @functools.wraps(function)
        def check(**given):
            return function(**given)

        return check

    @guarded
    def pay(amount, to):
        return tool(f"paid {amount} to {to}")

    rules = {"pay": lambda **given: wait(0.05) or "allowed"}
    tools = {"pay": pay}

    def carry_out(block):
        return tools[block.name](**block.input) if rules[block.name](**block.input) else ""

    return call(carry_out)


def a_generator_of_parts(call):
    allowed = {"pay": lambda **given: wait(0.05) or ["may"]}

    def pay(amount, to):
        yield "paid "
        yield tool(str(amount))

    tools = {"pay": pay}

    def carry_out(block):
        allowed[block.name](**block.input)
        return "".join(tools[block.name](**block.input))

    return call(carry_out)


LOOK_ALIKES = [
    objects_before_and_after,
    tables,
    a_dry_run_of_its_own_name,
    a_dry_run_of_the_same_function,
    a_logger_that_hands_the_result_on,
    validators_that_give_back_what_they_got,
    hooks_around,
    a_cache_that_knows_nothing,
    in_coroutines,
    in_threads,
    all_checks_before_all_tools,
    decorated_by_a_guard,
    a_generator_of_parts,
]
