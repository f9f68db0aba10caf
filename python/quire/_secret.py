"""Reading the secrets that a run was given."""

import os
import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}\Z")
MAX_BYTES = 1 << 20


def secret(name: str) -> str:
    """Return the secret that was given to the run as ``--secret NAME=...``, or chosen in its form.

    Raises LookupError, which names the secrets there are, when it was not given.
    The value comes from a file that only this user can read; it is never in the
    environment, in the notebook or in a log.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"secret: {name!r} is not a name")
    directory = os.environ.get("QUIRE_SECRETS_DIR")
    if not directory:
        raise LookupError(
            f"secret {name!r}: this run was given no secrets (quire run --secret {name}=env:VAR; "
            f"on the platform quire submit --secret {name}=NAME)"
        )
    try:
        fd = os.open(os.path.join(directory, name), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        known = ", ".join(sorted(os.listdir(directory))) if os.path.isdir(directory) else ""
        raise LookupError(
            f"secret {name!r}: not given to this run, which has {known or 'none'}"
        ) from None
    with os.fdopen(fd, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"secret {name!r}: longer than {MAX_BYTES} bytes")
    return data.decode("utf-8")
