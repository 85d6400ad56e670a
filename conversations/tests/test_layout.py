"""Rules of conversations/README.md: import order, writes in services, access contexts."""

import ast
from pathlib import Path

import pytest

APP = Path(__file__).resolve().parent.parent
# A package may import itself and those before it.
ORDER = [
    {"models", "formats"},
    {"db"},
    {"selectors"},
    {"services"},
    {"chat"},
    {"api", "admin"},
    {"server"},
    {"management"},
]
LEVEL = {package: level for level, packages in enumerate(ORDER) for package in packages}


def imports_of(path):
    """(module, line, whether inside a function) of every import in a file."""
    tree = ast.parse(path.read_text())
    nested = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            yield name, node.lineno, node in nested


def files_of(package):
    return sorted((APP / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(LEVEL))
def test_packages_import_in_their_order(package):
    for path in files_of(package):
        for module, line, _ in imports_of(path):
            parts = module.split(".")
            target = parts[1] if parts[0] == "conversations" and len(parts) > 1 else None
            if target in LEVEL and target != package:
                assert LEVEL[target] < LEVEL[package], f"{path}:{line} imports {module}"


def test_the_application_does_not_import_the_project():
    """The settings provide objects of the project, such as the embedded model."""
    for package in sorted(LEVEL):
        for path in files_of(package):
            for module, line, _ in imports_of(path):
                commands = package == "management"  # run on the project's own machine
                assert commands or module.split(".")[0] != "chatproject", f"{path}:{line}"


def test_formats_do_not_import_django():
    for path in files_of("formats"):
        for module, line, _ in imports_of(path):
            assert module.split(".")[0] not in {"django", "rest_framework"}, f"{path}:{line}"


@pytest.mark.parametrize("package", sorted(LEVEL))
def test_no_import_in_a_function_avoids_a_circular_import(package):
    for path in files_of(package):
        for module, line, nested in imports_of(path):
            assert not (nested and module.startswith("conversations")), f"{path}:{line}"


def test_only_services_write():
    """Views, the admin and commands do not save, create or delete rows."""
    calls = {"save", "bulk_create", "bulk_update", "get_or_create", "update_or_create"}
    for package in ("api", "admin", "management"):
        for path in files_of(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    # LogEntry of Django's admin is not a model of this app.
                    ours = not ast.unparse(node.func).startswith("LogEntry.")
                    assert not (ours and node.func.attr in calls), f"{path}:{node.lineno}"


def test_every_module_has_a_docstring():
    for path in APP.rglob("*.py"):
        if "migrations" in path.parts or "tests" in path.parts or not path.read_text().strip():
            continue
        assert ast.get_docstring(ast.parse(path.read_text())), path


def names_in(path):
    """All names and attributes that a file uses, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute):
            yield node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.name, node.lineno


# These have the rights of a script on the server and store no AccessRecord.
OF_SCRIPTS = {
    "SCRIPT",
    "add_message",
    "add_messages",
    "find_or_create_user",
    "find_user",
    "get_chat_history",
    "get_or_create_conversation",
    "get_user_conversations",
}


@pytest.mark.parametrize("package", ["api", "admin"])
def test_api_and_admin_never_use_the_script_context(package):
    """Each request has its own access context, for its rights and its AccessRecords."""
    # Staff create tokens for other users; the view checks that they may.
    names = OF_SCRIPTS - {"find_user"} if package == "admin" else OF_SCRIPTS
    for path in files_of(package):
        for name, line in names_in(path):
            assert name not in names, f"{path}:{line} uses {name}"


def test_the_api_queries_rows_only_by_owner_or_caller():
    """`Conversation.objects` is followed by `visible_to` or `owned_by`; messages are read only in
    `api/queries.py`."""
    starts = {"visible_to", "owned_by", "none"}
    for path in files_of("api"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            source = ast.unparse(node)
            if source.startswith("Conversation.objects."):
                assert source.split(".")[2].partition("(")[0] in starts, (
                    f"{path}:{node.lineno} {source}"
                )
            if source.startswith("Message.objects.") and path.name not in {
                "queries.py",
                "filters.py",
            }:
                assert source == "Message.objects.none", f"{path}:{node.lineno} {source}"
