"""The rules of the house: who may import whom, and what a docstring owes.

Each rule takes files, as a dict of path → source, and returns what is wrong
as lines ``path:line: what``; nothing wrong is an empty list.
"""

import ast
import functools
import graphlib
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The rooms from the ground up; a module imports from its own floor and from
# those below.  The longest name that fits says where a module stands.
FLOORS = (
    "claims console fonts hidden install metrics calibration notebooks optimizers "
    "precision seeding stored table verdict views",
    "world",
    "selfcheck models objectives",
    "diagrams figures forest named_regions naming pairs training",
    "transfer",
    "lessons",
    "distill.box_supervision distill.methods distill.pictures distill.supervision",
    "distill.parts",
    "distill distill.segmentation distill.detection",
    "distill.bench distill.student distill.comparison stored_rows",
    "pretrain memes",
    "experiments",
    "__main__",
)
LINES = 300
LONG: dict[str, str] = {}  # path → why it is longer
OUTSIDE = {  # other libraries' names
    "_attn_implementation": "transformers has no public name for it",
    "_exit": "os._exit is public, and documented",
    "_forward_hooks": "torch does not tell otherwise whether one is left",
    "_forward_pre_hooks": "the same",
    "_replace": "a method of namedtuple, and documented",
    "_repr_mimebundle_": "IPython's protocol",
    "_version": "torch has no public count of a tensor's changes",
}
DOCUMENTED = ("models", "objectives", "transfer", "distill", "metrics")
# what these take and return is said once: torch's way, and distill.methods
CONTRACT = {"forward", "scores", "detect", "trained", "checks"}
# modules of methods and named losses: transfer's tools are none
SOURCED = re.compile(
    r"vlmtutor/(objectives|distill/(segmentation|detection)|transfer)/(?!_)"
    r"(?!(base|pictures|prompts|visual_prompts|tasks|scene_sets|few_shot)\.)"
    r"(?!(claims|comparison|report)\.)"
)
SHAPE = re.compile(r"\[[^\[\]]*\]")
SOURCE = re.compile(r"(19|20)\d\d.*arXiv:?\s+\d{4}\.\d{4,5}", re.DOTALL)


parse = functools.cache(ast.parse)


def read(*patterns):
    paths = sorted(path for pattern in patterns for path in ROOT.glob(pattern))
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths}


PACKAGE = read("vlmtutor/**/*.py")
TESTS = read("tests/**/*.py")


def notebooks():
    cells = {}
    for path, text in read("notebooks/*.ipynb").items():
        code = (c for c in json.loads(text)["cells"] if c["cell_type"] == "code")
        for n, cell in enumerate(code, start=1):
            lines = "".join(cell["source"]).splitlines()
            python = [line for line in lines if not line.lstrip().startswith("%")]
            cells[f"{path}#{n}"] = "\n".join(python)
    return cells


TAUGHT = notebooks() | read("notebooks/solutions/*.py")


def module_name(path):
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(files):
    """(path, line, importer, imported module, name) of the package's own.

    A relative import is resolved, a lazy one inside a function counts, and a
    module that is imported by name is told from a name that a module holds.
    """
    modules = {module_name(path) for path in PACKAGE | files}
    for path, text in files.items():
        importer = module_name(path)
        room = importer if path.endswith("__init__.py") else importer.rpartition(".")[0]
        for node in ast.walk(parse(text)):
            if isinstance(node, ast.Import):
                found = [(alias.name, None) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = room.split(".")[: 1 - node.level or None] if node.level else []
                home = ".".join([*above, node.module] if node.module else above)
                found = [(home, alias.name) for alias in node.names]
            else:
                continue
            for home, name in found:
                if home.split(".")[0] == "vlmtutor":
                    whole = f"{home}.{name}"
                    imported = whole if whole in modules else home
                    yield path, node.lineno, importer, imported, name


def floor(module):
    inside = module.partition(".")[2]
    fits = [
        (len(room), k)
        for k, rooms in enumerate(FLOORS)
        for room in rooms.split()
        if inside == room or inside.startswith(f"{room}.")
    ]
    return max(fits)[1] if fits else None


def experiments_taught(files):
    return [
        f"{path}:{line}: {imported}"
        for path, line, importer, imported, _ in imports(files)
        if imported.startswith("vlmtutor.experiments")
        and not importer.startswith(("vlmtutor.experiments", "vlmtutor.__main__"))
    ]


def upward(files):
    return [
        f"{path}:{line}: {importer} -> {imported}"
        for path, line, importer, imported, _ in imports(files)
        if imported != "vlmtutor" and floor(importer) < floor(imported)
    ]


def circles(files):
    graph = {}
    for _, _, importer, imported, _ in imports(files):
        graph.setdefault(importer, set()).add(imported)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def private(files):
    """Names with one underscore that are read outside of their module."""
    wrong = [
        f"{path}:{line}: {imported}.{name}"
        for path, line, _, imported, name in imports(files)
        if name and name.startswith("_") and name != "__version__"
    ]
    for path, text in files.items():
        nodes = list(ast.walk(parse(text)))
        own = {n.name for n in nodes if isinstance(n, ast.FunctionDef)} | {
            n.attr for n in nodes if isinstance(n, ast.Attribute) and _is_self(n.value)
        }
        for node in nodes:
            if not isinstance(node, ast.Attribute) or _is_self(node.value):
                continue
            hidden = re.match(r"_[^_]", node.attr) and node.attr not in own
            if (hidden and node.attr not in OUTSIDE) or node.attr == "__dict__":
                wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    return wrong


def _is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def too_long(files):
    counts = {path: len(text.splitlines()) for path, text in files.items()}
    return [
        f"{p}:{n}: over 300" for p, n in counts.items() if n > 300 and p not in LONG
    ]


def undocumented(files):
    """Public functions, classes and methods that owe a docstring more.

    A method that stands in for a base's owes nothing where the base does not.
    """
    wrong = []
    trees = {path: parse(text) for path, text in files.items()}
    classes = {
        node.name: node
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }
    for path, tree in trees.items():
        texts = [ast.get_docstring(x) or "" for x in (tree, *public(tree))]
        if SOURCED.match(path) and not any(map(SOURCE.search, texts)):
            wrong.append(f"{path}:1: no year and arXiv id")
        for node in public(tree):
            inherited = CONTRACT | told_by_bases(node, classes)
            methods = public(node) if isinstance(node, ast.ClassDef) else []
            things = [x for x in (node, *methods) if x.name not in inherited]
            wrong += [f"{path}:{x.lineno}: {w}" for x in things for w in owed(x)]
    return wrong


def public(node):
    kinds = ast.FunctionDef | ast.ClassDef
    return [x for x in node.body if isinstance(x, kinds) and x.name[0] != "_"]


def told_by_bases(node, classes):
    told = set()
    for base in getattr(node, "bases", ()):
        if above := classes.get(ast.unparse(base)):
            told |= {m.name for m in public(above) if ast.get_docstring(m)}
            told |= told_by_bases(above, classes)
    return told


def owed(thing):
    said = ast.get_docstring(thing) or ""
    if not said:
        yield f"{thing.name} has no docstring"
    parts = [thing]
    if isinstance(thing, ast.ClassDef):  # its own are those of its two doors
        parts = [f for f in thing.body if _named(f, "forward", "__init__")]
        said += "".join(ast.get_docstring(part) or "" for part in parts)
    shaped = [f for f in parts if not _named(f, "__init__")]
    if any(map(takes_tensors, shaped)) and not SHAPE.search(said):
        yield f"{thing.name} tells no shape, as in [N, D]"
    for error in sorted({e for part in parts for e in errors(part)}):
        if error not in said:
            yield f"{thing.name} raises {error} and does not say so"


def _named(node, *names):
    return isinstance(node, ast.FunctionDef) and node.name in names


def takes_tensors(function):
    arguments = function.args
    hints = [a.annotation for a in arguments.args + arguments.kwonlyargs]
    return any("Tensor" in ast.unparse(h) for h in [*hints, function.returns] if h)


def errors(function):
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            yield ast.unparse(node.exc.func).rpartition(".")[2]
