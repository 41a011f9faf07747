"""Pairs of tools that a model asks for: in two turns (the second may need the first), or in one
reply (where only what they change may need an order). Each label is a person's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Use:
    """A tool, what the model gives it and what it returns."""

    name: str
    arguments: Mapping[str, Any]
    result: Any
    fails: bool = False
    read_only: bool | None = None


@dataclass(frozen=True)
class Pair:
    """Two calls of tools. ``way``: how the second needs the first, or why it does not."""

    way: str
    question: str
    first: Use
    second: Use
    dependent: bool
    one_reply: bool = False
    says: tuple[str, str] = ("Let me look.", "And now this.")
    name: str = field(default="", compare=False)


def needs(way: str, question: str, first: Use, second: Use) -> Pair:
    return Pair(way, question, first, second, dependent=True)


def free(way: str, question: str, first: Use, second: Use) -> Pair:
    return Pair(way, question, first, second, dependent=False)


def order(way: str, first: Use, second: Use) -> Pair:
    return Pair(way, "Do what has to be done.", first, second, dependent=True, one_reply=True)


def any_order(way: str, first: Use, second: Use) -> Pair:
    return Pair(way, "Do what has to be done.", first, second, dependent=False, one_reply=True)


NEEDS = (
    needs(
        "an id inside a sentence",
        "What has Alice ordered?",
        Use("find_user", {"name": "Alice"}, "Alice is customer no. 4711 since 2021."),
        Use("run_query", {"sql": "select * from orders where customer = 4711"}, "tea, cup"),
    ),
    needs(
        "one number",
        "When does my train leave?",
        Use("ticket", {"owner": "me"}, "Seat 61, coach 7, train 512"),
        Use("timetable", {"train": 512}, "08:14 from platform 3"),
    ),
    needs(
        "a name",
        "What is the weather where Bob lives?",
        Use("find_user", {"name": "Bob"}, {"name": "Bob", "city": "Paris"}),
        Use("weather", {"city": "Paris"}, "Rain until noon."),
    ),
    needs(
        "a name of two letters",
        "Who can reach the person on duty?",
        Use("duty_roster", {"week": "this week"}, "On duty: Al"),
        Use("phone_book", {"who": "Al"}, "555-0199"),
    ),
    needs(
        "a word in another form",
        "What do people complain about?",
        Use("top_complaint", {"of": "people"}, "Most of them are about cancelled trips."),
        Use("faq", {"about": "cancellation"}, "A trip can be cancelled until noon."),
    ),
    needs(
        "reworded",
        "How do we ship to our best client?",
        Use("best_client", {"of": "ours"}, "The harbour authority in the north"),
        Use("shipping", {"to": "port administration"}, "By truck, twice a week."),
    ),
    needs(
        "reworded by a long sentence",
        "What can be done about the fault of line 3?",
        Use("fault_report", {"line": 3}, "The belt squeals whenever it is cold in the morning."),
        Use("handbook", {"query": "noise conveyor low temperature"}, "Grease the rollers."),
    ),
    needs(
        "translated",
        "Find a hotel in the town of the fair.",
        Use("fair", {"year": "this year"}, "It takes place in Munich."),
        Use("hotels", {"ort": "München"}, "Three hotels have rooms."),
    ),
    needs(
        "translated, nothing alike",
        "What does the sign in the photo mean for a driver?",
        Use("read_sign", {"photo": "the photo"}, "Achtung Wildwechsel"),
        Use("traffic_rules", {"topic": "animals crossing"}, "Slow down."),
    ),
    needs(
        "counted",
        "Book a table for everybody of the team.",
        Use("team", {"of": "the team"}, "Ada, Bob, Cid, Dan, Eve"),
        Use("tables", {"seats": 5}, "One by the window is free."),
    ),
    needs(
        "counted in JSON",
        "Is there a room for all of them?",
        Use(
            "guests", {"event": "the room"}, {"guests": [{"n": "Ada"}, {"n": "Bob"}, {"n": "Cid"}]}
        ),
        Use("rooms", {"people": 3}, "Room A has space."),
    ),
    needs(
        "counted by sort",
        "Order cake for the children.",
        Use("party", {"for": "the children"}, "Ada (adult), Bo (child), Cy (child), Di (adult)"),
        Use("cakes", {"pieces": 2}, "Chocolate or lemon."),
    ),
    needs(
        "a length",
        "Does the title fit on the cover?",
        Use("title", {"book": "the cover"}, "A Short History of Salt"),
        Use("cover_fit", {"characters": 23}, "It fits on one line."),
    ),
    needs(
        "summed up",
        "How much is the whole trip with tax?",
        Use("fares", {"trip": "the whole trip"}, "There: 120, back: 90"),
        Use("tax", {"amount": 210}, "39.90 of it is tax."),
    ),
    needs(
        "the largest",
        "Tell me about the biggest town there.",
        Use("towns", {"in": "there"}, "Aden 40, Bram 95, Cole 77"),
        Use("about", {"town": "Bram"}, "It lies on a river."),
    ),
    needs(
        "the next number",
        "What comes after the last invoice?",
        Use("last_invoice", {"of": "the last"}, "2041"),
        Use("invoice", {"no": 2042}, "It is a draft."),
    ),
    needs(
        "converted",
        "Is it warm enough there for the plants?",
        Use("temperature", {"at": "there"}, "50 degrees Fahrenheit"),
        Use("plants", {"celsius": 10}, "Only cress."),
    ),
    needs(
        "rounded",
        "Which package fits the parcel?",
        Use("scale", {"of": "the parcel"}, "2.87 kg"),
        Use("packages", {"kg": 3}, "Package M."),
    ),
    needs(
        "a date counted on",
        "When is the second shot due?",
        Use("vaccination", {"of": "the second shot"}, "First shot on the 3rd of March 2026"),
        Use("free_days", {"day": "2026-03-31"}, "There is room at ten."),
    ),
    needs(
        "a yes",
        "If the museum is open, what does it cost?",
        Use("is_open", {"what": "the museum"}, True),
        Use("prices", {"of": "museum"}, "12 for adults."),
    ),
    needs(
        "a no in JSON",
        "If there is no train, find a bus to Porto.",
        Use("trains", {"to": "Porto"}, {"available": False}),
        Use("buses", {"to": "Porto"}, "At nine and at noon."),
    ),
    needs(
        "a state",
        "If order 17 has left, where is it?",
        Use("state", {"order": 17}, "shipped"),
        Use("where_is", {"order": 17}, "In Lyon."),
    ),
    needs(
        "a word that decides",
        "Answer the mail as it deserves.",
        Use("mood", {"of": "the mail"}, "ok"),
        Use("phrases", {"for": "the mail"}, "Kind regards"),
    ),
    needs(
        "a check that came out empty",
        "Is there a note on salt? If not, what says the web on salt?",
        Use("notes", {"on": "salt"}, []),
        Use("web", {"on": "salt"}, "Salt is a mineral."),
    ),
    needs(
        "nothing was found",
        "What does the manual say on valves?",
        Use("manual", {"query": "valves"}, "No results."),
        Use("manual", {"query": "valves manual"}, "Chapter 4."),
    ),
    needs(
        "an error in the text",
        "Read the report.",
        Use("open_report", {"name": "report"}, "error: rate limited, use the mirror"),
        Use("read_mirror", {"name": "report"}, "It went well."),
    ),
    needs(
        "an error in JSON",
        "Read the report.",
        Use("get_report", {"name": "report"}, {"error": "not there", "data": None}),
        Use("get_archive", {"name": "report"}, "It went well."),
    ),
    needs(
        "an exception",
        "Read the report.",
        Use("get_report", {"name": "report"}, "the disk is gone", fails=True),
        Use("get_archive", {"name": "report"}, "It went well."),
    ),
    needs(
        "refused",
        "Who may see the salary of Eve?",
        Use("get_salary", {"of": "Eve"}, "You are not allowed to see this."),
        Use("get_rights", {"of": "Eve"}, "Her boss may."),
    ),
    needs(
        "a field is missing",
        "Get the quarterly report.",
        Use("get_job", {"kind": "report"}, "validation: quarter is a required field"),
        Use("get_job", {"kind": "report", "quarter": "2026-Q1"}, "It is there."),
    ),
    needs(
        "a time-out",
        "Get the quarterly report.",
        Use("get_report", {"kind": "quarterly"}, "The request timed out."),
        Use("get_summary", {"kind": "quarterly"}, "All is well."),
    ),
    needs(
        "an error in another language",
        "Lies den Bericht.",
        Use("get_bericht", {"name": "Bericht"}, "Fehler: Datei gesperrt"),
        Use("get_kopie", {"name": "Bericht"}, "Alles gut."),
    ),
    needs(
        "via a file",
        "Draw the curve and look at it.",
        Use("plot", {"to": "/srv/curve.png"}, "The plot is there now."),
        Use("look_at", {"picture": "/srv/curve.png"}, "It goes up."),
    ),
    needs(
        "via a file in a folder",
        "Fix the price and commit.",
        Use("edit_file", {"path": "/srv/shop/price.py", "new": "13"}, "The file has been updated."),
        Use("shell", {"command": "cd /srv/shop && git commit -a"}, "1 file changed"),
    ),
    needs(
        "via a file nobody names",
        "Save the draft and print it.",
        Use("save_draft", {"text": "the draft"}, "It is on the disk."),
        Use("print_latest", {}, "The printer is at work."),
    ),
    needs(
        "via global state",
        "Log in and show my mails.",
        Use("login", {"user": "me"}, "Welcome back."),
        Use("mails", {"folder": "inbox"}, "Two new ones."),
    ),
    needs(
        "via a setting",
        "In German: what is the weather?",
        Use("set_language", {"to": "German"}, "The language has been changed."),
        Use("weather", {"city": "here"}, "Regen."),
    ),
    needs(
        "via the working directory",
        "What is in the folder docs?",
        Use("cd", {"to": "docs"}, "Now in docs."),
        Use("ls", {}, "a.md b.md"),
    ),
    needs(
        "via another tool's effect",
        "Put tea into the cart and check out.",
        Use("add_to_cart", {"item": "tea"}, "There is one item in it."),
        Use("checkout", {}, "That makes 4 euros."),
    ),
    needs(
        "via an effect, the same id",
        "Cancel order 4711 and tell me its state.",
        Use("cancel_order", {"order_id": 4711}, "It has been cancelled."),
        Use("order_state", {"order_id": 4711}, "Cancelled."),
    ),
    needs(
        "via a database",
        "Add Eve to the users and list them.",
        Use("run_sql", {"sql": "insert into users values ('Eve')"}, "1 row"),
        Use("run_sql", {"sql": "select * from users"}, "Ada, Eve"),
    ),
    needs(
        "via a queue",
        "Start the export and fetch it.",
        Use("start_export", {"of": "the export"}, "It will take a moment."),
        Use("fetch_export", {}, "a,b,c"),
    ),
    needs(
        "via an interpreter",
        "Load the data and plot it.",
        Use("python", {"code": "d = load()"}, "Done in a moment."),
        Use("python", {"code": "plot(d)"}, "A curve."),
    ),
    needs(
        "via a page in a browser",
        "What says the page of the zoo?",
        Use("goto", {"page": "the zoo"}, "The page has been loaded."),
        Use("page_text", {}, "Open from nine."),
    ),
    needs(
        "a cursor",
        "List all members.",
        Use("members", {"of": "all"}, {"names": ["Ada"], "next": "c2xk"}),
        Use("members", {"of": "all", "after": "c2xk"}, {"names": ["Bob"]}),
    ),
    needs(
        "a path from a listing",
        "What do my notes say?",
        Use("list_dir", {"of": "my notes"}, "a.md\nshopping.md"),
        Use("read_file", {"path": "shopping.md"}, "tea, salt"),
    ),
    needs(
        "a path built from two",
        "What do my notes say?",
        Use("find_dir", {"of": "my notes"}, "/home/eve/notes"),
        Use("read_file", {"path": "/home/eve/notes/index.md"}, "tea, salt"),
    ),
    needs(
        "a search result opened",
        "What is salt?",
        Use("search", {"query": "salt"}, [{"url": "https://salt.example/a", "title": "Salt"}]),
        Use("fetch", {"url": "https://salt.example/a"}, "Salt is a mineral."),
    ),
    needs(
        "a part of an address",
        "Who runs the server of the shop?",
        Use("page_of", {"what": "the shop"}, "https://shop.example.org/start?x=1"),
        Use("whois", {"host": "example.org"}, "Eve Ltd."),
    ),
    needs(
        "in capitals",
        "What is the airport of the town of the fair like?",
        Use("airport_of", {"town": "the fair"}, "code lis, 7 km out"),
        Use("airport", {"code": "LIS"}, "It is small."),
    ),
    needs(
        "in other characters",
        "Where is the office of Mr Zhang?",
        Use("find_person", {"who": "Mr Zhang"}, "张伟在北京办公室"),
        Use("office", {"place": "北京办公室"}, "On the third floor."),
    ),
    needs(
        "with accents",
        "What is on in the town of the fair?",
        Use("fair", {"year": "this year"}, "São Paulo"),
        Use("events", {"town": "São Paulo"}, "A concert."),
    ),
    needs(
        "an abbreviation",
        "What does the head of that office earn?",
        Use("office_of", {"what": "that office"}, "Federal Bureau of Tariffs"),
        Use("salary", {"office": "FBT"}, "A lot."),
    ),
    needs(
        "a colour mixed",
        "What goes with the colour of the wall?",
        Use("colour", {"of": "the wall"}, "half blue, half yellow"),
        Use("matches", {"colour": "green"}, "White."),
    ),
    needs(
        "an opposite",
        "Find somebody who does what Eve does not like.",
        Use("likes", {"who": "Eve"}, "She hates mornings."),
        Use("people", {"liking": "early shifts"}, "Bob."),
    ),
    needs(
        "what comes first of two",
        "Whom do I call first?",
        Use("calls", {"for": "first"}, "12:30 Dan; 09:15 Cid"),
        Use("number_of", {"who": "Cid"}, "555-0101"),
    ),
    needs(
        "a unit left out",
        "How long is the way for a truck?",
        Use("way", {"for": "a truck"}, "It is 340km."),
        Use("truck_time", {"km": 340}, "Five hours."),
    ),
    needs(
        "a word inside a word",
        "Which rule is that?",
        Use("find_rule", {"which": "that"}, "See ruleset X7b-strict."),
        Use("rule", {"key": "X7b"}, "No smoking."),
    ),
    needs(
        "a list of several",
        "What do these people say?",
        Use("people", {"of": "these"}, "Ada; Bob"),
        Use("opinions", {"of": ["Ada", "Bob"]}, "They like it."),
    ),
    needs(
        "deep in JSON",
        "What does the parcel of Eve weigh?",
        Use("parcels", {"of": "Eve"}, {"hits": [{"meta": {"id": "k-9"}}]}),
        Use("weight", {"parcel": "k-9"}, "3 kg"),
    ),
    needs(
        "JSON in a text",
        "What does the parcel of Eve weigh?",
        Use("parcels", {"of": "Eve"}, 'Result: {"id": 88}'),
        Use("weight", {"parcel": 88}, "3 kg"),
    ),
    needs(
        "a model of its own words",
        "What should Eve read?",
        Use("profile", {"who": "Eve"}, "She loves the sea and old ships."),
        Use("books", {"topic": "sailing"}, "Moby Dick."),
    ),
)

FREE = (
    free(
        "words of the question",
        "What is the weather in Lisbon, and what are the news from Porto?",
        Use("weather", {"city": "Lisbon"}, "It is sunny with a light breeze."),
        Use("news", {"city": "Porto"}, "The bridge is open again."),
    ),
    free(
        "words of the model's own",
        "When should I go?",
        Use("weather", {"city": "Lisbon-by-the-sea"}, "Sunny with a light breeze."),
        Use("calendar", {"day": "2026-11-28-saturday"}, "Nothing is planned so far."),
    ),
    free(
        "a word of the question in the result",
        "Compare hotels in Paris with flats in Paris.",
        Use("hotels", {"city": "Paris"}, "Hotels in Paris cost 120 a night; flats are rare."),
        Use("flats", {"city": "Paris"}, "From 90 a night."),
    ),
    free(
        "the same tool twice",
        "What is the weather in Lisbon and in Porto?",
        Use("weather", {"city": "Lisbon"}, "Sunny with a light breeze."),
        Use("weather", {"city": "Porto"}, "Rain until noon."),
    ),
    free(
        "two numbers of the question",
        "Compare the orders 4711 and 4712.",
        Use("get_order", {"id": 4711}, "Tea and a cup for Alice."),
        Use("get_order", {"id": 4712}, "Salt for Bob."),
    ),
    free(
        "two files",
        "Compare a.txt with b.txt.",
        Use("read_file", {"path": "a.txt"}, "It was a dark and stormy night."),
        Use("read_file", {"path": "b.txt"}, "The sun was shining."),
    ),
    free(
        "two pages",
        "Read https://a.example/x and https://b.example/y.",
        Use("fetch", {"url": "https://a.example/x"}, "All about tea."),
        Use("fetch", {"url": "https://b.example/y"}, "All about salt."),
    ),
    free(
        "two searches",
        "Look up the history of tea and the price of salt.",
        Use("search", {"query": "history of tea"}, "Tea came to Europe with merchants."),
        Use("search", {"query": "price of salt"}, "Two euros a bag."),
    ),
    free(
        "two searches with words added",
        "Tell me about tea and about salt.",
        Use("search", {"query": "tea overview introduction"}, "Tea is a drink of leaves."),
        Use("search", {"query": "salt basic facts"}, "It is mined or boiled."),
    ),
    free(
        "with options",
        "Tell me about tea and about salt.",
        Use("search", {"query": "tea", "limit": 5}, "Tea is a drink of leaves."),
        Use("search", {"query": "salt", "limit": 5}, "It is mined or boiled."),
    ),
    free(
        "a date of the question",
        "What is on my calendar on 28 November, and who is in town?",
        Use("who_is_in", {"where": "town"}, "Ada and Bob."),
        Use("calendar", {"day": "2026-11-28"}, "A dentist at ten."),
    ),
    free(
        "two tools, one person",
        "What do we know about Alice?",
        Use("get_profile", {"name": "Alice"}, "She joined long ago."),
        Use("get_tickets", {"name": "Alice"}, "Two are open."),
    ),
    free(
        "marked read-only",
        "What do we know about Alice?",
        Use("profile", {"name": "Alice"}, "She joined long ago.", read_only=True),
        Use("tickets", {"name": "Alice"}, "Two are open.", read_only=True),
    ),
    free(
        "marked read-only, one file",
        "Count the lines of /srv/a.py and show its head.",
        Use("count_lines", {"path": "/srv/a.py"}, "There are many of them.", read_only=True),
        Use("head", {"path": "/srv/a.py"}, "import os", read_only=True),
    ),
    free(
        "a long result",
        "Summarise the book, and tell me the weather in Rome.",
        Use(
            "read_book", {"title": "the book"}, "The ship left at dawn and nobody saw it go. " * 40
        ),
        Use("weather", {"city": "Rome"}, "Clouds."),
    ),
    free(
        "a result in JSON",
        "Where does Eve live, and what is the price of salt?",
        Use("get_user", {"name": "Eve"}, {"name": "Eve", "city": "Lyon", "vegan": True}),
        Use("price", {"of": "salt"}, {"amount": 2.1, "currency": "EUR"}),
    ),
    free(
        "numbers on both sides",
        "How high is K2, and how long is the Rhine?",
        Use("height", {"of": "K2"}, "8611 metres above the sea"),
        Use("length", {"of": "Rhine"}, "1233 kilometres"),
    ),
    free(
        "in German",
        "Wie ist das Wetter in Köln und was kostet Salz?",
        Use("wetter", {"ort": "Köln"}, "Es regnet bis zum Mittag."),
        Use("preis", {"ware": "Salz"}, "Zwei Euro."),
    ),
    free(
        "in Chinese",
        "北京天气如何？盐的价格是多少？",
        Use("weather", {"city": "北京"}, "今天有小雨"),
        Use("price", {"of": "盐"}, "两块钱"),
    ),
    free(
        "translate two texts",
        "Translate 'good morning' and 'good night' into French.",
        Use("translate", {"text": "good morning"}, "bonjour à tous"),
        Use("translate", {"text": "good night"}, "bonne nuit"),
    ),
    free(
        "two tables",
        "How many rows have the tables users and orders?",
        Use("count_rows", {"table": "users"}, "There are 120 rows."),
        Use("count_rows", {"table": "orders"}, "There are 77 rows."),
    ),
    free(
        "two experts",
        "Ask the lawyer and the doctor about the accident.",
        Use("lawyer", {"about": "the accident"}, "File a claim soon."),
        Use("doctor", {"about": "the accident"}, "Rest for a week."),
    ),
    free(
        "a calculation of the question",
        "What is 12*12, and what is the capital of Peru?",
        Use("calculate", {"what": "12*12"}, "It makes 144."),
        Use("capital", {"of": "Peru"}, "Lima."),
    ),
    free(
        "two accounts",
        "What do the accounts A-1 and B-2 hold?",
        Use("get_balance", {"account": "A-1"}, "1200 EUR on hand"),
        Use("get_balance", {"account": "B-2"}, "80 EUR on hand"),
    ),
    free(
        "one price after the other",
        "Compare the prices of tea and salt.",
        Use("get_price", {"of": "tea"}, "4.20"),
        Use("get_price", {"of": "salt"}, "1.10"),
    ),
)

ORDER = (
    order(
        "a file written, then read",
        Use("write_file", {"path": "/srv/a.txt", "text": "x"}, "ok"),
        Use("read_file", {"path": "/srv/a.txt"}, "x"),
    ),
    order(
        "a file edited, then committed",
        Use("edit_file", {"path": "/srv/shop/price.py"}, "ok"),
        Use("shell", {"command": "cd /srv/shop && git add price.py"}, "ok"),
    ),
    order(
        "a folder made, then written into",
        Use("make_dir", {"path": "/srv/new"}, "ok"),
        Use("write_file", {"path": "/srv/new/a.txt"}, "ok"),
    ),
    order(
        "a table made, then filled",
        Use("run_sql", {"sql": "create table users"}, "ok"),
        Use("run_sql", {"sql": "insert into users values (7)"}, "ok"),
    ),
    order("log in first", Use("login", {"as": "me"}, "ok"), Use("mails", {"folder": "in"}, "two")),
    order(
        "put it in, then pay", Use("add_to_cart", {"item": "tea"}, "ok"), Use("checkout", {}, "4")
    ),
    order("set, then used", Use("set_language", {"to": "de"}, "ok"), Use("greet", {}, "Hallo")),
    order(
        "deleted, then listed",
        Use("delete_note", {"title": "tea"}, "ok"),
        Use("list_notes", {}, "salt"),
    ),
    order(
        "one line after the other",
        Use("append_line", {"text": "first"}, "ok"),
        Use("append_line", {"text": "second"}, "ok"),
    ),
    order(
        "one interpreter",
        Use("python", {"code": "d = load()"}, "ok"),
        Use("python", {"code": "plot(d)"}, "ok"),
    ),
    order(
        "the same file twice",
        Use("write_file", {"path": "a.txt", "text": "x"}, "ok"),
        Use("write_file", {"path": "a.txt", "text": "y"}, "ok"),
    ),
    order(
        "one record, undeclared tools",
        Use("profile_update", {"user_id": 7, "city": "Lyon"}, "ok"),
        Use("profile", {"user_id": 7}, "Lyon"),
    ),
    order(
        "a page, then a click", Use("goto", {"page": "zoo"}, "ok"), Use("click", {"on": "x"}, "ok")
    ),
    order(
        "started, then stopped",
        Use("start_server", {"port": 80}, "ok"),
        Use("stop_server", {"port": 80}, "ok"),
    ),
    order(
        "fetched into a file, then opened",
        Use("download", {"url": "https://x.example/d.zip", "to": "/srv/d.zip"}, "ok"),
        Use("unzip", {"file": "/srv/d.zip"}, "ok"),
    ),
    order(
        "booked, then cancelled",
        Use("book_room", {"room": "A"}, "ok"),
        Use("cancel_room", {"room": "A"}, "ok"),
    ),
    order(
        "one file under two names",
        Use("store", {"path": "./out/a.csv"}, "ok"),
        Use("load_table", {"path": "out/a.csv"}, "ok"),
    ),
    order(
        "a branch, then a push",
        Use("git", {"branch": "fix-1"}, "ok"),
        Use("push", {"branch": "fix-1"}, "ok"),
    ),
)

ANY_ORDER = (
    any_order(
        "two searches",
        Use("search", {"query": "tea"}, "a drink"),
        Use("search", {"query": "salt"}, "white"),
    ),
    any_order(
        "two files read",
        Use("read_file", {"path": "a.txt"}, "x"),
        Use("read_file", {"path": "b.txt"}, "y"),
    ),
    any_order(
        "two cities",
        Use("weather", {"city": "Lisbon"}, "sun"),
        Use("weather", {"city": "Porto"}, "rain"),
    ),
    any_order(
        "two look-ups",
        Use("weather", {"city": "Lisbon"}, "sun"),
        Use("calendar", {"day": "today"}, "free"),
    ),
    any_order(
        "one file, both only read",
        Use("count_lines", {"path": "/srv/a.py"}, "12", read_only=True),
        Use("head", {"path": "/srv/a.py"}, "import os", read_only=True),
    ),
    any_order(
        "two pages",
        Use("fetch", {"url": "https://a.example/x"}, "tea"),
        Use("fetch", {"url": "https://a.example/y"}, "salt"),
    ),
    any_order(
        "two users", Use("get_user", {"user_id": 7}, "Ada"), Use("get_user", {"user_id": 8}, "Bob")
    ),
    any_order(
        "two mails",
        Use("send_mail", {"to": "ada@x.example"}, "ok"),
        Use("send_mail", {"to": "bob@x.example"}, "ok"),
    ),
    any_order(
        "two tables", Use("query", {"table": "t1"}, "rows"), Use("query", {"table": "t2"}, "rows")
    ),
    any_order(
        "two helpers",
        Use("ask_expert", {"topic": "law"}, "yes"),
        Use("ask_expert", {"topic": "tea"}, "no"),
    ),
    any_order(
        "two files written",
        Use("write_file", {"path": "/srv/a.txt"}, "ok"),
        Use("write_file", {"path": "/srv/b.txt"}, "ok"),
    ),
    any_order(
        "two calculations",
        Use("calculate", {"what": "1+1"}, "2"),
        Use("calculate", {"what": "2*3"}, "6"),
    ),
    any_order(
        "one user, two look-ups",
        Use("get_user", {"user_id": 7}, "Ada"),
        Use("list_orders", {"user_id": 7}, "tea"),
    ),
)

FURTHER = (
    needs(
        "initials",
        "Who wrote it?",
        Use("author", {"of": "it"}, "Written by Jane Kowalski."),
        Use("bio", {"who": "JK"}, "Born long ago."),
    ),
    needs(
        "yes among words",
        "Is Bob in? If so, what is his extension?",
        Use("presence", {"who": "Bob"}, "Bob is in the office today."),
        Use("extension", {"who": "Bob"}, "Extension 12."),
    ),
    needs(
        "percent from fraction",
        "What share is that?",
        Use("votes", {"of": "that"}, "3 of 4 voted for it"),
        Use("explain_share", {"percent": 75}, "Large."),
    ),
    needs(
        "roman numeral",
        "Which pope came then?",
        Use("century", {"of": "then"}, "the fourteenth century"),
        Use("popes", {"century": "XIV"}, "Many."),
    ),
    needs(
        "month name to number",
        "What happened then?",
        Use("event", {"which": "then"}, "in November of that year"),
        Use("news_of", {"month": 11}, "A storm."),
    ),
    needs(
        "currency sym",
        "What is it in dollars?",
        Use("price", {"of": "it"}, "€ 40"),
        Use("convert", {"amount": 40, "from": "EUR"}, "43"),
    ),
    needs(
        "time zone",
        "When is it here?",
        Use("start", {"of": "it"}, "9 am in Tokyo"),
        Use("local_time", {"hour": 0}, "midnight"),
    ),
    needs(
        "base64",
        "What does the token say?",
        Use("token", {"of": "it"}, "aGVsbG8="),
        Use("lookup_word", {"word": "hello"}, "a greeting"),
    ),
    needs(
        "sorted list",
        "Who is youngest?",
        Use("ages", {"of": "all"}, "Ada 40 Bob 12"),
        Use("school_of", {"who": "Bob"}, "North."),
    ),
    needs(
        "empty string result",
        "Any alias of Eve? else her mail.",
        Use("alias", {"of": "Eve"}, ""),
        Use("mail_of", {"who": "Eve"}, "eve@x"),
    ),
    needs(
        "null",
        "Any alias of Eve? else her mail.",
        Use("alias", {"of": "Eve"}, None),
        Use("mail_of", {"who": "Eve"}, "eve@x"),
    ),
    needs(
        "zero",
        "Is there stock of tea? else order at Bob.",
        Use("stock", {"of": "tea"}, 0),
        Use("supplier", {"of": "tea"}, "Bob"),
    ),
    needs(
        "number steers",
        "If I have more than 100, what shares are cheap?",
        Use("balance", {"of": "mine"}, "1200 EUR"),
        Use("cheap_shares", {"market": "more"}, "ACME"),
    ),
    needs(
        "http 500",
        "get x",
        Use("get_x", {"x": "x"}, "HTTP 500"),
        Use("get_y", {"x": "x"}, "ok then"),
    ),
    needs(
        "sorry",
        "get the plan",
        Use("get_plan", {"of": "plan"}, "Sorry, I can't do that right now."),
        Use("get_old_plan", {"of": "plan"}, "old one"),
    ),
    needs(
        "Chinese failure",
        "读报告",
        Use("get_report", {"name": "报告"}, "读取失败"),
        Use("get_copy", {"name": "报告"}, "很好"),
    ),
    needs(
        "user id hidden in url",
        "what does Eve say",
        Use("profile_url", {"of": "Eve"}, "http://x.example/u/981"),
        Use("posts", {"user": "981"}, "hi"),
    ),
    needs(
        "hex to dec",
        "what is at the address",
        Use("pointer", {"of": "address"}, "0x1F"),
        Use("memory", {"at": 31}, "x"),
    ),
    needs(
        "typo fixed",
        "who is he",
        Use("name_tag", {"of": "he"}, "Jonh Smiht"),
        Use("person", {"name": "John Smith"}, "a smith"),
    ),
    needs(
        "synonym same question word",
        "Find a doctor for the pain.",
        Use("pain", {"of": "pain"}, "It hurts in the knee"),
        Use("doctors", {"field": "orthopaedics"}, "Dr X"),
    ),
    free(
        "weather two days",
        "Weather in Rome today and in Oslo tomorrow",
        Use("weather", {"city": "Rome", "day": "today"}, "Hot and dry all day."),
        Use("weather", {"city": "Oslo", "day": "tomorrow"}, "Cold rain."),
    ),
    free(
        "with units",
        "Weather in Rome and Oslo",
        Use(
            "weather",
            {"city": "Rome", "unit": "celsius"},
            "It has 31 degrees celsius in the shade.",
        ),
        Use("weather", {"city": "Oslo", "unit": "celsius"}, "It has 4."),
    ),
    free(
        "stock prices",
        "How are ACME and INIT doing?",
        Use("quote", {"symbol": "ACME"}, {"price": 12.5, "change": "+1%"}),
        Use("quote", {"symbol": "INIT"}, {"price": 99.1, "change": "-2%"}),
    ),
    free(
        "docs",
        "Compare the policies on returns and on lunch",
        Use("search_docs", {"query": "returns policy"}, "Goods may come back within thirty days."),
        Use("search_docs", {"query": "lunch policy"}, "Lunch starts at noon."),
    ),
    free(
        "overlapping common words",
        "What do users and admins see?",
        Use("view_of", {"role": "users"}, "Users see their own orders and settings."),
        Use("view_of", {"role": "admins"}, "Admins see all orders and settings."),
    ),
    order(
        "symlink",
        Use("link", {"from": "/a/x", "to": "/b/y"}, "ok"),
        Use("cat", {"path": "/b/y"}, "z"),
    ),
    order(
        "move then read",
        Use("mv", {"src": "/a/x", "dst": "/a/z"}, "ok"),
        Use("read_file", {"path": "/a/z"}, "z"),
    ),
    order("env", Use("export_env", {"k": "A"}, "ok"), Use("run_job", {}, "ok")),
    order("counter", Use("counter", {}, "1"), Use("counter", {}, "2")),
    order("dice pool", Use("draw_card", {}, "ace"), Use("draw_card", {}, "two")),
    order(
        "thread reply",
        Use("post_message", {"channel": "c1", "text": "hello"}, "ok"),
        Use("post_message", {"channel": "c1", "text": "more"}, "ok"),
    ),
    order("session neutral names", Use("session", {"user": "me"}, "ok"), Use("inbox", {}, "two")),
    order("transaction", Use("begin", {}, "ok"), Use("insert_row", {"t": "a"}, "ok")),
    order(
        "nested id",
        Use("ticket", {"ticket_id": "T-9", "state": "closed"}, "ok"),
        Use("ticket_report", {"of": "T-9"}, "closed"),
    ),
    order(
        "git",
        Use("bash", {"command": "git add ."}, "ok"),
        Use("bash", {"command": "git commit -m x"}, "ok"),
    ),
    order(
        "mkdir cp",
        Use("bash", {"command": "mkdir /srv/q"}, "ok"),
        Use("bash", {"command": "cp a /srv/q/"}, "ok"),
    ),
    any_order(
        "two translations",
        Use("translate", {"text": "hi", "to": "fr"}, "salut"),
        Use("translate", {"text": "bye", "to": "fr"}, "adieu"),
    ),
    any_order(
        "read and grep",
        Use("read_file", {"path": "a.py"}, "x"),
        Use("grep", {"pattern": "def", "path": "b.py"}, "y"),
    ),
)

TURNS: tuple[Pair, ...] = (*NEEDS, *FREE, *ORDER, *ANY_ORDER, *FURTHER)
