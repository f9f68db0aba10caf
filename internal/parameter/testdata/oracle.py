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


def assignments(case):
    """Compares the assignments at the top of a cell with those that were found.

    case is [source, [[name, annotation, value, line], ...]]; the answer is
    ["ok"], ["diff", what] or, for what is not Python, ["e", ...].
    """
    import ast
    import warnings

    warnings.simplefilter("ignore")
    source, found = case
    wanted = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                wanted += [[n, None, node.value if n is target.id else None, node.lineno]
                           for n in [target.id]] if isinstance(target, ast.Name) else several(target, node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.simple:
            wanted.append([node.target.id, node.annotation, node.value, node.lineno])
    if [w[0] for w in wanted] != [f[0] for f in found]:
        return ["diff", "names " + repr([w[0] for w in wanted]) + " but " + repr([f[0] for f in found])]
    for (name, annotation, value, line), (_, ftype, fvalue, fline) in zip(wanted, found):
        if line != fline:
            return ["diff", "%s: line %d but %d" % (name, line, fline)]
        if annotation is not None and not same(annotation, ftype):
            return ["diff", "%s: annotation %r" % (name, ftype)]
        if value == "any":
            continue
        if (value is None) != (fvalue == "") or value is not None and not same(value, fvalue):
            return ["diff", "%s: value %r" % (name, fvalue)]
    return ["ok"]


def several(target, node):
    """A target of plain names: each with its part of the value, or any."""
    import ast

    if not isinstance(target, (ast.Tuple, ast.List)):
        return []
    names = [t.value if isinstance(t, ast.Starred) else t for t in target.elts]
    if not all(isinstance(n, ast.Name) for n in names):
        return []
    return [[n.id, None, "any", node.lineno] for n in names]


def same(node, text):
    import ast

    if isinstance(node, ast.Constant) and isinstance(node.value, str) and text == node.value.strip():
        return True  # an annotation in quotes is what the quotes say
    return ast.dump(node) == ast.dump(ast.parse("(" + text + "\n)", mode="eval").body)


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
