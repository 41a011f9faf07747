"""The key of the digests: given, else made once for this installation, else once for this process.

Digests can be compared where the key is the same: between the runs of one user on one machine, or
wherever `CAUSEPATH_DIGEST_KEY` is the same.
"""

from __future__ import annotations

import os
import secrets
import sys
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from causepath.guard import log

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "digest-key"
KEY_BYTES = 32


def digest_key(given: str | None, environ: Mapping[str, str] = os.environ) -> bytes:
    """The key to digest with: from the text `given`, else from the file of this installation."""
    if given:
        return blake2b(given.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest()
    try:
        return _kept(_folder(environ) / FILE)
    except (OSError, ValueError, RuntimeError) as error:
        log.debug("digests have a key of this process only: %s", error)
        return secrets.token_bytes(KEY_BYTES)


def _folder(environ: Mapping[str, str]) -> Path:
    """Finds the folder where programs of this user keep state that is not edited by hand."""
    if sys.platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "causepath"
    given = environ.get("XDG_STATE_HOME", "")
    state = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"  # noqa: PTH117
    return state / "causepath"


def _kept(path: Path) -> bytes:
    """The key in the file, which is made if need be. Of two processes that make it, one wins."""
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = path.with_name(f".{FILE}-{os.getpid()}-{secrets.token_hex(4)}")
    file = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(file, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
        try:
            os.link(made, path)  # whole, or not at all, and never over another's
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            os.replace(made, path)  # noqa: PTH105
    finally:
        made.unlink(missing_ok=True)
    return _read(path)


def _read(path: Path) -> bytes:
    """Raises ValueError if the file holds no key."""
    with path.open(encoding="ascii") as stream:
        key = bytes.fromhex(stream.read(4 * KEY_BYTES))
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path} holds no key; delete it and another one is made")
    return key
