"""Running a command, with what it prints in the cell."""

import codecs
import json
import os
import selectors
import signal
import subprocess
import sys
from typing import IO, Any, Dict, List, TextIO, Tuple

READ_BYTES = 64 * 1024
TAIL_CHARACTERS = 300


class CommandFailed(RuntimeError):
    """A command that did not succeed: its exit status, and the last line of its errors."""

    def __init__(self, status: int, last: str = "") -> None:
        how = f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"
        super().__init__(f"{how}: {last}" if last else how)
        self.status = status


def shell(command: str, /, **variables: Any) -> None:
    """Run ``command`` in bash, which stops at the first that fails.

    What it prints is shown as it comes. ``variables`` are in its environment; one
    that is no text is JSON there. It has no input. Raises CommandFailed.
    """
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    with subprocess.Popen(
        ["bash", "-e", "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **texts},
    ) as process:
        try:
            last = _show(process)
            status = process.wait()
        except BaseException:
            process.kill()
            raise
    if status != 0:
        raise CommandFailed(status, last)


def _show(process: "subprocess.Popen[bytes]") -> str:
    """Pass on what a process prints until it has closed both ends. Return its last line of errors."""
    assert process.stdout is not None and process.stderr is not None
    pairs: List[Tuple[IO[bytes], TextIO]] = [(process.stdout, sys.stdout), (process.stderr, sys.stderr)]
    decoders: Dict[int, codecs.IncrementalDecoder] = {}
    tail = ""
    with selectors.DefaultSelector() as selector:
        for pipe, to in pairs:
            decoders[pipe.fileno()] = codecs.getincrementaldecoder("utf-8")("replace")
            selector.register(pipe, selectors.EVENT_READ, to)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, READ_BYTES)
                text = decoders[key.fd].decode(data, final=not data)
                key.data.write(text)
                key.data.flush()
                if key.data is pairs[1][1]:
                    tail = (tail + text)[-TAIL_CHARACTERS:]
                if not data:
                    selector.unregister(key.fileobj)
    lines = tail.strip().splitlines()
    return lines[-1].strip() if lines else ""
