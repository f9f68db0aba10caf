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
import logging
import pathlib
import sys
import warnings

import jsonschema
import nbformat
import nbformat.reader
import nbformat.v4.convert
import nbformat.validator

warnings.simplefilter("ignore")


class Ids:
    def __init__(self):
        self.n = 0

    def __call__(self):
        self.n += 1
        return f"{self.n:08x}"


validators = {}


def validator(minor):
    """The schema of version 4.minor, with unknown fields allowed. (nbformat's
    own relax_add_props also allows what it must not: numbers in text data.)"""
    if minor not in validators:
        name = f"nbformat.v4.{minor}.schema.json" if minor <= 5 else "nbformat.v4.schema.json"
        path = pathlib.Path(nbformat.v4.__file__).parent / name
        schema = json.loads(path.read_text(encoding="utf8"), object_hook=relax)
        if minor > 5:
            schema["definitions"]["cell"]["oneOf"].append({"$ref": "#/definitions/unrecognized_cell"})
            schema["definitions"]["output"]["oneOf"].append({"$ref": "#/definitions/unrecognized_output"})
        validators[minor] = jsonschema.Draft4Validator(schema)
    return validators[minor]


def relax(node):
    if node.get("additionalProperties") is False:
        node["additionalProperties"] = True
    return node


def is_valid(nb):
    if nb.get("nbformat") in (2, 3):
        return True
    minor = nb.get("nbformat_minor")
    if type(minor) is not int or minor < 0 or not validator(minor).is_valid(nb):
        return False
    ids = [cell.get("id") for cell in nb["cells"]]
    return minor < 5 or len(set(ids)) == len(ids)


def read_write(text):
    """What nbformat.read(as_version=4) and nbformat.write make of text, and
    whether the notebook follows the schema."""
    ids = Ids()
    nbformat.v4.convert.random_cell_id = ids
    nbformat.validator.generate_corpus_id = ids
    valid = is_valid(nbformat.reader.reads(text))
    nb = nbformat.reads(text, as_version=4)
    out = io.StringIO()
    nbformat.write(nb, out)
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
