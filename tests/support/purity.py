"""The rules that keep the core pure and replayable, as checks over a syntax tree.

Import bans are not here: import-linter reads the import graph and ruff the names (pyproject.toml,
core/ruff.toml). What is left are habits that no linter knows and that break a replay all the same:

- waiting (`async`, `await`): the core waits by returning;
- builtins that reach outside (`open`, `print`, `eval`);
- state that outlives a machine: `global`, a module-level container that something writes to, a cache without
  a bound;
- order that changes from run to run: `hash()`, `id()`, iteration over a set (its order depends on
  PYTHONHASHSEED);
- time as a float, which rounds differently from the integer nanoseconds everything else counts in.

The checks read one file at a time and guess types from what that file says; they are built to let no ordinary
mistake through, not to withstand an author who hides one.
"""

import ast
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias


class Finding(NamedTuple):
    """One breach: the line it stands on and what is wrong with it."""

    line: int
    what: str


Rule: TypeAlias = Callable[[ast.Module], Iterator[Finding]]

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)

_CONTAINERS: Final = frozenset(
    {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict", "ChainMap"}
)
_AMBIENT: Final = frozenset({"open", "input", "print", "exec", "eval", "compile", "breakpoint", "__import__"})
_MUTATORS: Final = frozenset(
    {
        "add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert", "pop", "popitem",
        "popleft", "remove", "setdefault", "sort", "update",
    }
)  # fmt: skip
_ORDERED_CONSUMERS: Final = frozenset(
    {"list", "tuple", "iter", "next", "enumerate", "zip", "map", "filter", "reversed", "dict"}
)
_ORDERLESS_CONSUMERS: Final = frozenset({"sorted", "set", "frozenset", "any", "all", "len", "min", "max"})
_SET_TYPES: Final = frozenset({"set", "frozenset", "Set", "AbstractSet", "MutableSet"})


def waiting(tree: ast.Module) -> Iterator[Finding]:
    """No `async`, no `await`: a machine returns its commands and is called again."""
    for node in ast.walk(tree):
        match node:
            case ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith() | ast.Await():
                yield Finding(node.lineno, "the core awaits nothing: return a Command")
            case ast.comprehension(is_async=1):
                yield Finding(node.target.lineno, "the core awaits nothing: return a Command")
            case _:
                pass


def ambient_builtins(tree: ast.Module) -> Iterator[Finding]:
    """No builtin that reaches outside or runs text as code: no import rule sees those."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in _AMBIENT:
                yield Finding(node.lineno, f"{name}() reaches outside: take bytes, return commands")
            case _:
                pass


def module_state(tree: ast.Module) -> Iterator[Finding]:
    """No state that outlives a machine.

    A module-level list, dict or set is a constant: `Final`, filled at import, and written to by no function.
    (A state table that decorators fill lives behind a class of its own.) A cache has a bound that is stated
    where it stands.
    """
    yield from (
        Finding(n.lineno, "`global`: pass the value") for n in ast.walk(tree) if isinstance(n, ast.Global)
    )
    constants: set[str] = set()
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if _is_container(value):
                constants.add(name)
                if name != "__all__":
                    yield Finding(
                        statement.lineno, f"{name}: a module-level container is Final, or not at module level"
                    )
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value) if (
                value and _is_container(value)
            ):
                constants.add(name)
                if _head(annotation) != "Final":
                    yield Finding(
                        statement.lineno, f"{name}: a module-level container is Final, or not at module level"
                    )
            case ast.ImportFrom(names=names):
                # Somebody else's constant is no more ours to write to.
                constants.update(alias.asname or alias.name for alias in names)
            case _:
                pass
    for function in _functions(tree):
        for line, name in _writes(function):
            if name in constants - _bound_in(function):
                yield Finding(line, f"{name}: a module-level constant is written to")
    yield from _unbounded_caches(tree)


def unstable_order(tree: ast.Module) -> Iterator[Finding]:
    """Nothing whose result differs from one run to the next: `hash()`, `id()`, the order of a set."""
    forgiven = _comprehensions_whose_order_is_lost(tree)
    for nodes, sets in _scopes(tree):
        for node in nodes:
            match node:
                case ast.Call(func=ast.Name(id="hash" | "id" as name)):
                    yield Finding(node.lineno, f"{name}() differs from run to run: use a digest, or a number")
                case ast.For(iter=source) if _is_set(source, sets):
                    yield Finding(node.lineno, "a set has no order: loop over sorted(...), or keep a tuple")
                case ast.ListComp() | ast.GeneratorExp() | ast.DictComp() if node not in forgiven:
                    if any(_is_set(generator.iter, sets) for generator in node.generators):
                        yield Finding(
                            node.lineno, "a set has no order: loop over sorted(...), or keep a tuple"
                        )
                case ast.Call(func=ast.Name(id=name), args=arguments) if name in _ORDERED_CONSUMERS:
                    if any(_is_set(argument, sets) for argument in arguments):
                        yield Finding(node.lineno, f"{name}() of a set has no order: use sorted(...)")
                case ast.Call(func=ast.Attribute(attr="join"), args=[argument]) if _is_set(argument, sets):
                    yield Finding(node.lineno, "join() of a set has no order: use sorted(...)")
                case ast.Starred(value=value) if _is_set(value, sets):
                    yield Finding(node.lineno, "a set has no order: unpack sorted(...)")
                case _:
                    pass


def float_time(tree: ast.Module) -> Iterator[Finding]:
    """Time is an int, in nanoseconds, under a name that says so."""
    for node in ast.walk(tree):
        match node:
            case ast.arg(arg=name, annotation=ast.expr() as annotation):
                pass
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name), annotation=annotation):
                pass
            case _:
                continue
        if _is_time(name) and "float" in {n.id for n in ast.walk(annotation) if isinstance(n, ast.Name)}:
            yield Finding(node.lineno, f"{name}: time is an int, in nanoseconds")


RULES: Final[tuple[Rule, ...]] = (waiting, ambient_builtins, module_state, unstable_order, float_time)


def findings(source: str) -> list[Finding]:
    """Every breach in the text of one module, in the order of its lines."""
    tree = ast.parse(source)
    return sorted(finding for rule in RULES for finding in rule(tree))


# ------------------------------------------------------------------------------------------- reading the tree


def _head(annotation: ast.expr) -> str:
    """The outermost name of a type: `Final` of `typing.Final[dict[str, int]]`."""
    match annotation:
        case ast.Subscript(value=value):
            return _head(value)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.BinOp(left=left, op=ast.BitOr()):
            return _head(left)
        case ast.Constant(value=str(text)):
            return _head(ast.parse(text, mode="eval").body)
        case _:
            return ""


def _is_container(value: ast.expr) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _CONTAINERS
        case _:
            return False


def _functions(tree: ast.Module) -> Iterator[_Function]:
    return (n for n in ast.walk(tree) if isinstance(n, _FUNCTIONS))


def _bound_in(function: _Function) -> set[str]:
    """Names that are the function's own: its parameters and what it assigns."""
    arguments = function.args
    every = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {argument.arg for argument in every if argument is not None}


def _writes(function: _Function) -> Iterator[tuple[int, str]]:
    """Each name through which the function changes a container: `X[k] = v`, `del X[k]`, `X.append(v)`."""
    for node in ast.walk(function):
        match node:
            case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
                yield node.lineno, name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in _MUTATORS:
                yield node.lineno, name
            case _:
                pass


def _unbounded_caches(tree: ast.Module) -> Iterator[Finding]:
    bounded: set[ast.expr] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=func, keywords=keywords, args=arguments) if _named(func) == "lru_cache":
                bounds = [k.value for k in keywords if k.arg == "maxsize"] or arguments[:1]
                if bounds and not (isinstance(bounds[0], ast.Constant) and bounds[0].value is None):
                    bounded.add(func)
            case _:
                pass
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute) or node in bounded:
            continue
        if _named(node) == "lru_cache" or ast.unparse(node) == "functools.cache":
            yield Finding(node.lineno, "a cache states its bound: lru_cache(maxsize=N)")


def _named(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _scopes(tree: ast.Module) -> Iterator[tuple[list[ast.AST], frozenset[str]]]:
    """The module and each of its functions: the nodes that are their own, and the names that are sets there.

    An attribute (`self.open`) is a set wherever any class of the module says so; its name stands with a dot.
    """
    attributes = frozenset(f".{name}" for name, is_set in _says_set(ast.walk(tree), ast.Attribute) if is_set)
    pending: list[tuple[ast.Module | _Function, frozenset[str]]] = [(tree, attributes)]
    while pending:
        scope, inherited = pending.pop()
        nodes = list(_own_nodes(scope))
        said = list(_says_set(nodes, ast.Name))
        own = _bound_in(scope) if not isinstance(scope, ast.Module) else set[str]()
        sets = {name for name, is_set in said if is_set} - {name for name, is_set in said if not is_set}
        here = frozenset((inherited - own) | sets)
        yield nodes, here
        pending.extend((n, here) for n in nodes if isinstance(n, _FUNCTIONS))


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Every node below `scope`, the functions in it included, what is inside those not."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, _FUNCTIONS):
            yield from _own_nodes(child)


def _says_set(nodes: Iterable[ast.AST], kind: type[ast.Name | ast.Attribute]) -> Iterator[tuple[str, bool]]:
    """What annotations and assignments say about names (or attributes): whether each holds a set."""
    for node in nodes:
        match node:
            case ast.AnnAssign(target=ast.expr() as target, annotation=annotation, value=value):
                inner = annotation.slice if isinstance(annotation, ast.Subscript) else annotation
                wrapped = _head(annotation) in {"Final", "ClassVar"}
                head = _head(inner) if wrapped else _head(annotation)
                is_set = head in _SET_TYPES or (value is not None and _is_set(value, frozenset()))
            case ast.Assign(targets=[ast.expr() as target], value=value):
                is_set = _is_set(value, frozenset())
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if kind is ast.Name:
                yield name, _head(annotation) in _SET_TYPES
                continue
            case _:
                continue
        if isinstance(target, kind):
            yield _named(target), is_set


def _is_set(value: ast.expr, names: frozenset[str]) -> bool:
    match value:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr=name):
            return f".{name}" in names
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor(), right=right):
            return _is_set(left, names) or _is_set(right, names)
        case _:
            return False


def _comprehensions_whose_order_is_lost(tree: ast.Module) -> set[ast.expr]:
    """A comprehension over a set is fine where its order cannot be seen: `sorted(x for x in some_set)`."""
    return {
        argument
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _ORDERLESS_CONSUMERS
        for argument in node.args
    }


def _is_time(name: str) -> bool:
    return name in {"now", "deadline", "when"} or name.endswith(("_ns", "_deadline"))
