"""Quire's helper for notebooks: record, checkpoint, stop, secret and shell.

It needs nothing but the standard library, and nothing in a notebook needs it: a
record is a display of the type ``application/x-quire-record``, which any
language can publish.
"""

from ._checkpoint import CHECKPOINT_MIME, checkpoint, restore
from ._record import RECORD_MIME, record
from ._secret import secret
from ._shell import CommandFailed, shell
from ._stop import QuireStop, stop

__all__ = [
    "CHECKPOINT_MIME",
    "RECORD_MIME",
    "CommandFailed",
    "QuireStop",
    "checkpoint",
    "record",
    "restore",
    "secret",
    "shell",
    "stop",
]
__version__ = "0.1.0"
