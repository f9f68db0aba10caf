"""Answers what Python itself makes of a list of inputs, for differential tests.

usage: python oracle.py yaml|flag|exec|format|assign <inputs.json >answers.json
Each answer is a typed value: ["n"], ["b", true], ["i", "12"], ["f", "1.5"],
["s", "x"], ["l", [...]], ["d", [[key, value], ...]] or ["e", "error"].
"""

import datetime
import json
import sys


def typed(v):
    if v is None:
        return ["n"]
    if isinstance(v, bool):
        return ["b", v]
    if isinstance(v, int):
        return ["i", str(v)]
    if isinstance(v, float):
        return ["f", repr(v)]
    if isinstance(v, str):
        return ["s", v]
    if isinstance(v, (list, tuple)):
        return ["l", [typed(e) for e in v]]
    if isinstance(v, dict):
        return ["d", [[typed(k), typed(e)] for k, e in v.items()]]
    return ["e", type(v).__name__]


def untyped(t):
    kind = t[0]
    if kind == "n":
        return None
    if kind in "bs":
        return t[1]
    if kind == "i":
        return int(t[1])
    if kind == "f":
        return float(t[1])
    if kind == "l":
        return [untyped(e) for e in t[1]]
    return {untyped(k): untyped(v) for k, v in t[1]}


def read_yaml(text):
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {
            k: [r for r in v if r[0] != "tag:yaml.org,2002:timestamp"]
            for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return typed(yaml.load(text, Loader=Loader))


def read_flag(text):
    if text in ("True", "False", "None"):
        return typed({"True": True, "False": False, "None": None}[text])
    for kind in (int, float):
        try:
            return typed(kind(text))
        except ValueError:
            pass
    return typed(text)


def run(source):
    scope = {}
    exec(source, scope)
    scope.pop("__builtins__")
    return typed(scope)


def fill(case):
    template, params, stamp = case
    moment = datetime.datetime.fromisoformat(stamp)
    scope = {"pm": {"run_uuid": "u-1", "current_datetime_local": moment.replace(tzinfo=None), "current_datetime_utc": moment}}
    scope.update(untyped(params))
    return ["s", template.format(**scope)]


def assignments(source):
    """The simple assignments at the top of a cell: [name, annotation, value, line]."""
    import ast
    import warnings

    warnings.simplefilter("ignore")
    if "\0" in source:
        raise SyntaxError("NUL")
    found = []
    data = source.encode("utf-8")
    starts = [0]
    for line in data.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def text(node):
        a = starts[node.lineno - 1] + node.col_offset
        b = starts[node.end_lineno - 1] + node.end_col_offset
        return data[a:b].decode("utf-8")

    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.append([target.id, "", text(node.value), node.lineno])
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.simple:
            value = text(node.value) if node.value is not None else ""
            found.append([node.target.id, text(node.annotation), value, node.lineno])
    return ["a", found]


MODES = {"yaml": read_yaml, "flag": read_flag, "exec": run, "format": fill, "assign": assignments}


def answer(mode, case):
    try:
        return MODES[mode](case)
    except RecursionError:
        return ["e", "recursion"]
    except Exception as err:  # the error is the answer
        return ["e", type(err).__name__]


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8", errors="surrogatepass")
    cases = json.load(sys.stdin)
    json.dump([answer(sys.argv[1], c) for c in cases], sys.stdout)
