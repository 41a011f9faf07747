"""Functions that know the name of a tool, `search`: those that may carry it out, and the others."""

# mypy: ignore-errors
# ruff: noqa


def chain(name, args):
    if name == "save":
        return store(args)
    elif name == "search":
        return look(args)


def pattern(name, args):
    match name:
        case "search":
            return look(args)


def alternatives(name, args):
    match name:
        case "save" | "search":
            return look(args)


def table(name, args):
    return {"search": lambda: look(args), "save": store}[name]()


def several(self, name, args):
    if name in ("search", "find"):
        return self.files.look(args)


def none_of_several(name, args):
    if name not in ("search", "find"):
        return None
    return look(args)


def unknown(name, args):
    if name != "search":
        raise KeyError(name)
    return look(args)


def negated(name, args):
    if not name == "search":
        return None
    return look(args)


def either(name, args):
    if name == "search" or name == "find":
        return look(args)


def both(block):
    out = None
    if block.name == "search" and block.input.get("q"):
        out = look(block.input)
    return out


def hands_on(block, results):
    if block.name == "search":
        results.append(look(block.input))


def chosen(name, args):
    function = look if name == "search" else store
    return function(args)


def chosen_later(name, args):
    if name == "search":
        function = look
    elif name == "save":
        function = store
    return function(**args)


def of_the_library(name, args):
    if name == "search":
        return open(args["q"]).read()


def prefix(name, args):
    if name.startswith("search"):
        return look(args)


async def awaited(name, args):
    if name == "search":
        return await look(args)


def in_parts(name, args):
    if name == "search":
        yield from look(args)


CARRY_OUT = [
    chain, pattern, alternatives, table, several, none_of_several, unknown, negated, either, both,
    hands_on, chosen, chosen_later, of_the_library, prefix, awaited, in_parts,
]  # fmt: skip


def is_one(name, args):
    return name == "search"


def is_among(name, args):
    return name in ("search", "save")


def may(name, args):
    if name == "search":
        return input("Search? ") == "y"
    return True


def text(name, args):
    if name == "search":
        return f"Searching {args['q']}"


def text_of_parts(name, args):
    if name == "search":
        return "Searching " + args.get("q", "").strip()


def shown(name, args):
    if name == "search":
        console.print("Searching", args.get("q"))


def drawn(name, args):
    if name == "search":
        console.rule(Panel(args["q"]))


def others(name, args):
    if name != "search":
        return look(args)
    return None


DO_NOT = [is_one, is_among, may, text, text_of_parts, shown, drawn, others]
