"""Prints the reference of the Python package as Markdown, from its sources. `cargo xtask generate` runs it.

A module lists its public names in `__all__`; the page has their signatures and docstrings. Names that
the package re-exports are described where they are defined.
"""

import ast
import inspect
import pathlib
import sys

PACKAGE = pathlib.Path(__file__).resolve().parent.parent / "crates" / "guerdon-python" / "python" / "guerdon"
HEAD = """<!-- Written by `cargo xtask generate`. Edit the sources instead. -->

# Python package

The [README of the package](../../crates/guerdon-python/README.md) has an introduction. This page lists
every public name. `_guerdon` is the native half; no program calls it directly.
"""


def module_name(path: pathlib.Path) -> str:
    parts = ("guerdon", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def text_of(node: ast.AST) -> str:
    doc = ast.get_docstring(node) or ""
    return without_doctests(inspect.cleandoc(doc))


def without_doctests(text: str) -> str:
    """Puts examples of the interpreter into code blocks."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith(">>>") and not inside:
            lines.append("```pycon")
            inside = True
        if inside and not line.strip():
            lines.append("```")
            inside = False
        lines.append(line)
    return "\n".join([*lines, "```"] if inside else lines)


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, method: bool) -> str:
    arguments = ast.parse(f"def f({ast.unparse(node.args)}): ...").body[0].args
    if method and not is_decorated(node, "staticmethod"):
        (arguments.posonlyargs or arguments.args).pop(0)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns and node.name != "__init__" else ""
    start = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    line = f"{start}{name}({ast.unparse(arguments)}){returns}"
    if len(line) <= 100:
        return line
    rows = split_arguments(ast.unparse(arguments))
    return "\n".join([f"{start}{name}(", *(f"    {row}," for row in rows), f"){returns}"])


def split_arguments(text: str) -> list[str]:
    """Splits at the commas outside brackets and quotes."""
    rows, depth, quote, start = [], 0, "", 0
    for at, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        elif letter == "," and not depth:
            rows.append(text[start:at].strip())
            start = at + 1
    return [*rows, text[start:].strip()]


def is_decorated(node: ast.AST, name: str) -> bool:
    return any(name in ast.unparse(decorator) for decorator in node.decorator_list)


def code(text: str) -> str:
    return f"```python\n{text}\n```\n"


def function_text(node: ast.FunctionDef | ast.AsyncFunctionDef, module: str) -> list[str]:
    return [f"### `{module}.{node.name}`\n", code(signature(node, node.name, method=False)), text_of(node), ""]


def class_text(node: ast.ClassDef, module: str, others: dict[str, ast.ClassDef]) -> list[str]:
    page = [f"### `{module}.{node.name}`\n"]
    members = {}
    for base in reversed([node, *bases(node, others)]):
        for member in base.body:
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)):
                members[member.name] = member
    if "__init__" in members:
        page.append(code(signature(members["__init__"], node.name, method=True)))
    page += [text_of(node), ""]
    if "__init__" in members and text_of(members["__init__"]):
        page += [text_of(members["__init__"]), ""]
    rows = [row for base in [*reversed(bases(node, others)), node] for row in fields(base)]
    if rows:
        page += ["| field | type | meaning |", "|---|---|---|", *rows, ""]
    for name, member in members.items():
        if name.startswith("_"):
            continue
        if is_decorated(member, "property"):
            kind = f": {ast.unparse(member.returns)}" if member.returns else ""
            page.append(code(f"{name}{kind}"))
        else:
            page.append(code(signature(member, name, method=True)))
        page += [text_of(member), ""]
    return page


def bases(node: ast.ClassDef, others: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """Returns the class's private bases in the same module: their members are its own."""
    found = []
    for base in node.bases:
        name = ast.unparse(base)
        if name.startswith("_") and name in others:
            found += [others[name], *bases(others[name], others)]
    return found


def fields(node: ast.ClassDef) -> list[str]:
    rows = []
    for at, member in enumerate(node.body):
        if not isinstance(member, ast.AnnAssign) or member.target.id.startswith("_"):
            continue
        following = node.body[at + 1] if at + 1 < len(node.body) else None
        constant = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        doc = following.value.value if constant and isinstance(following.value.value, str) else ""
        default = f"; default `{ast.unparse(member.value)}`" if member.value else ""
        kind = ast.unparse(member.annotation).replace("|", "\\|")
        meaning = " ".join(doc.split()).replace("|", "\\|")
        rows.append(f"| `{member.target.id}` | `{kind}`{default} | {meaning} |")
    return rows


def listed(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


def module_text(path: pathlib.Path) -> list[str]:
    tree = ast.parse(path.read_text())
    module = module_name(path)
    names = listed(tree)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    page = [f"## `{module}`\n", text_of(tree), ""]
    for node in tree.body:
        name = getattr(node, "name", "_")
        if name.startswith("_") or (names is not None and name not in names):
            continue
        if isinstance(node, ast.ClassDef):
            page += class_text(node, module, classes)
        elif not is_decorated(node, "overload"):
            page += function_text(node, module)
    return page


def main() -> None:
    page = [HEAD]
    for path in sorted(PACKAGE.rglob("*.py"), key=module_name):
        if not any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(PACKAGE).parts):
            page += module_text(path)
    text = "\n".join(page)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    sys.stdout.write(text.strip() + "\n")


if __name__ == "__main__":
    main()
