"""Find out why an LLM agent is slow and expensive, from its traces.

The command is ``causepath``. Data flows one way through this package::

    read/      bytes of any format      -> immutable traces
    analyses/  a trace                  -> a finished, frozen answer
    report/    answers                  -> text or JSON
    cli/       a typed signature        -> the three above, and an exit status
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
