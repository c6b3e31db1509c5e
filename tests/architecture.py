"""What tests/test_architecture.py measures: imports of a module found in its syntax tree, and the sizes of its parts.

Kept apart from the tests so that they can be pointed at a bad snippet and shown to fail.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

MAX_FILE_LINES: Final = 400
MAX_FUNCTION_LINES: Final = 40  # without the docstring, which rules of its own ask to be complete

ARROWS: Final[dict[str, tuple[str, ...]]] = {
    "model": (),
    "datasets": ("model", "inference_service.client"),
    "training": ("model", "datasets", "savings"),
    "savings": (),
    "inference_service": ("model", "savings"),
    "hardware": ("model", "inference_service.client"),
}
"""Room -> what of ours it may import beside itself. `spotgrid.py`, `benchmarks/` and `tests/` join rooms freely."""

TORCH_HOMES: Final = ("training", "model.network", "model.architectures", "datasets.torch_data")
"""The only modules that may import torch, or import a module that does."""

TORCH_FAMILY: Final = frozenset({"torch", "torchvision", "timm", "tensorboard", "onnxscript"})


def module_name(path: Path, root: Path) -> str:
    """`root/model/grid.py` -> `model.grid`; `root/model/__init__.py` -> `model`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything `module` imports: at the top, inside functions, or by `import_module("...")`.

    `from a import b` gives `a.b`, since b may be a module; prefixes are compared, so the name `b` of a module `a` is
    no false alarm.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    yield from _imports(ast.walk(ast.parse(source)), package)


def _imports(nodes: Iterable[ast.AST], package: list[str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of what `nodes` themselves import, relative ones seen from `package`."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def guarded_lines(source: str) -> set[int]:
    """Lines of imports inside `try: ... except ImportError` (or ModuleNotFoundError): what code can do without."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Try):
            caught = {ast.unparse(handler.type) for handler in node.handlers if handler.type}
            if caught & {"ImportError", "ModuleNotFoundError"}:
                parts = (part for statement in node.body for part in ast.walk(statement))
                lines |= {part.lineno for part in parts if isinstance(part, (ast.Import, ast.ImportFrom))}
    return lines


def _called(call: ast.Call) -> str:
    """`f` for a call of `f(...)` or `x.f(...)`."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def within(name: str, prefix: str) -> bool:
    """Whether dotted `name` is `prefix` or lies in it."""
    return name == prefix or name.startswith(prefix + ".")


def arrow_violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Imports of `module` that point at a room behind no arrow of its own room, or at what only joins rooms."""
    room = module.split(".")[0]
    if room not in ARROWS:
        return []
    allowed = (room, *ARROWS[room])
    ours = (*ARROWS, "spotgrid", "benchmarks", "tests")
    return [
        f"{module}:{line} imports {name}; {room}/ may import only {', '.join(allowed)}"
        for line, name in imports(source, module, is_package)
        if name.split(".")[0] in ours and not any(within(name, prefix) for prefix in allowed)
    ]


def torch_violations(source: str, module: str, is_package: bool = False) -> list[str]:
    """Imports by `module` of torch, of its family, or of one of our modules that needs it."""
    if any(within(module, home) for home in TORCH_HOMES):
        return []
    return [
        f"{module}:{line} imports {name}; only {', '.join(TORCH_HOMES)} may need torch"
        for line, name in imports(source, module, is_package)
        if name.split(".")[0] in TORCH_FAMILY or any(within(name, home) for home in TORCH_HOMES)
    ]


def eager_imports(source: str, package: str, standard: frozenset[str]) -> list[str]:
    """Imports beyond the standard library that an `__init__` runs when its package is merely named."""
    return [
        f"{package}/__init__.py:{line} imports {name} at once; do it in __getattr__"
        for line, name in _imports(ast.parse(source).body, [package])
        if name.split(".")[0] not in standard
    ]


def long_functions(source: str, module: str) -> list[str]:
    """Functions of more than `MAX_FUNCTION_LINES` lines, decorators and docstring not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            if lines > MAX_FUNCTION_LINES:
                found.append(f"{module}:{node.lineno} {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}")
    return found


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines that the docstring of `node` takes."""
    if ast.get_docstring(node) is None:
        return 0
    first = node.body[0]
    return (first.end_lineno or first.lineno) - first.lineno + 1
