"""Run by Python as it starts, from `causepath.pth`; since Python 3.15 from `causepath.start`."""

import os

OFF = ("", "0", "false", "no", "off")


def start() -> None:
    """Enable the plugin if the environment says so. Never fails: it runs before the application."""
    if os.environ.get("CAUSEPATH", "0").lower() in OFF:
        return
    try:
        import causepath.auto  # noqa: F401
        from causepath import forks

        forks.mark_outermost_process()
    except Exception:
        import logging

        logging.getLogger("causepath").debug("causepath could not start", exc_info=True)
