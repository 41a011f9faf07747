"""The option ``--prices FILE`` of every command that tells a cost."""

from typing import Annotated

from cyclopts import Parameter

PricesOption = Annotated[
    str | None,
    Parameter(
        metavar="FILE",
        help="Prices of your own in TOML, before those of the table: for each model "
        '[models."NAME"] with input and output in US dollars per million tokens.',
    ),
]
