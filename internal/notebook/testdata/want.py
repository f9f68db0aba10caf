"""Rewrites NAME.want.ipynb for every NAME.in.ipynb in this directory, and
answers the differential tests.

    want.py                 rewrite the goldens next to this file
    want.py --serve         read one JSON list [kind, text] a line on standard
                            input, answer each with one JSON line

It is run with a Python that has nbformat 5.10 or newer. Ids that nbformat
makes at random count up instead: 00000001, 00000002 ...
"""

import io
import json
import pathlib
import sys
import warnings

import nbformat
import nbformat.v4.convert
import nbformat.validator

warnings.simplefilter("ignore")


class Ids:
    def __init__(self):
        self.n = 0

    def __call__(self):
        self.n += 1
        return f"{self.n:08x}"


def read_write(text):
    """What nbformat.read(as_version=4) and nbformat.write make of text, and
    whether the notebook follows the schema (unknown fields allowed)."""
    ids = Ids()
    nbformat.v4.convert.random_cell_id = ids
    nbformat.validator.generate_corpus_id = ids
    strict = json.loads(text)
    valid = True
    nb = nbformat.reads(text, as_version=4)
    made = ids.n
    out = io.StringIO()
    nbformat.write(nb, out)
    if isinstance(strict, dict) and strict.get("nbformat") == 4:
        valid = made == 0
        try:
            nbformat.validate(strict, relax_add_props=True)
        except Exception:
            valid = False
    return out.getvalue(), valid


def answer(kind, text):
    try:
        if kind == "read":
            out, valid = read_write(text)
            out.encode("utf8")
            return {"out": out, "valid": valid}
        if kind == "json":
            return {"out": json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False)}
        if kind == "lines":
            return {"out": json.loads(text).splitlines(True)}
    except Exception as e:  # every refusal is an answer
        return {"error": f"{type(e).__name__}: {e}"[:200]}
    return {"error": "unknown kind"}


def main():
    nbformat.validator.get_logger = lambda: None
    import logging

    logging.disable(logging.CRITICAL)
    if sys.argv[1:] == ["--serve"]:
        for line in sys.stdin:
            kind, text = json.loads(line)
            print(json.dumps(answer(kind, text)), flush=True)
        return
    here = pathlib.Path(__file__).parent
    for path in sorted(here.glob("*.in.ipynb")):
        want = path.with_name(path.name.replace(".in.ipynb", ".want.ipynb"))
        try:
            out, _ = read_write(path.read_text(encoding="utf8"))
        except Exception as e:
            print(f"{path.name}: nbformat refuses it: {e}", file=sys.stderr)
            want.unlink(missing_ok=True)
            continue
        want.write_text(out, encoding="utf8", newline="")


main()
