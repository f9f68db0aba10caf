"""Publishing a display, in a notebook and outside of one."""

import json
from typing import Any, Dict


def publish(mime: str, content: Dict[str, Any], text: str) -> None:
    """Show ``content`` as ``mime``, with ``text`` for readers that know no such type.

    The content goes out as JSON text, not as an object: the notebook format
    allows objects only under types that end in ``json``. Where there is no
    IPython (a plain script), the text is printed.
    """
    bundle = {mime: json.dumps(content, allow_nan=False), "text/plain": text}
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(text)
        return
    if get_ipython() is None:
        print(text)
        return
    display(bundle, raw=True)  # type: ignore[no-untyped-call,unused-ignore]
