"""An editing session with the language server, with the capabilities of several editors."""

import asyncio
import os
import pathlib
import shutil

import pytest
import pytest_lsp
from lsprotocol import types
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = str(ROOT / os.environ["GUERDON"])
PACK = """pack: demo
facts: { target_price: number }
rules:
  - id: low
    about: 低价😀
    pionts: -5
    match: { number: { unit: [元] } }
    where: value = context.target_price
    examples: { hits: [{ text: 就四百二十元吧, context: { target_price: 420 } }], misses: [没有价格] }
"""


@pytest_lsp.fixture(
    params=["visual_studio_code", "neovim", "emacs"],
    config=ClientServerConfig(server_command=[SERVER, "rules", "lsp"]),
)
async def client(request: pytest.FixtureRequest, lsp_client: LanguageClient, tmp_path: pathlib.Path):
    # An editor registers what the server asks for.
    lsp_client.feature(types.CLIENT_REGISTER_CAPABILITY)(lambda _: None)
    capabilities = client_capabilities(request.param)
    result = await lsp_client.initialize_session(
        types.InitializeParams(capabilities=capabilities, root_uri=tmp_path.as_uri())
    )
    offered = capabilities.general.position_encodings if capabilities.general else None
    lsp_client.encoding = result.capabilities.position_encoding
    assert lsp_client.encoding in (offered or ["utf-16"])
    yield
    await lsp_client.shutdown_session()


def opened(client: LanguageClient, path: pathlib.Path, text: str) -> str:
    uri = path.as_uri()
    document = types.TextDocumentItem(uri=uri, language_id="yaml", version=1, text=text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(text_document=document))
    return uri


def column(client: LanguageClient, text: str) -> int:
    """The length of a text in the units of the session."""
    width = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[client.encoding]
    encoding = client.encoding if width == 1 else f"{client.encoding}-le"
    return len(text.encode(encoding)) // width


async def until(client: LanguageClient, uri: str, holds) -> list[types.Diagnostic]:
    """Waits until the diagnostics of a document fit."""
    while True:
        found = client.diagnostics.get(uri)
        if found is not None and holds(found):
            return list(found)
        await client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)


def errors(found) -> list[str]:
    return [each.code for each in found if each.severity == types.DiagnosticSeverity.Error]


@pytest.mark.asyncio
async def test_a_session(client: LanguageClient, tmp_path: pathlib.Path):
    uri = opened(client, tmp_path / "低价 pack.yaml", PACK)
    document = types.TextDocumentIdentifier(uri=uri)
    found = await until(client, uri, errors)
    typo = next(each for each in found if "pionts" in each.message)
    assert (typo.range.start.line, typo.range.start.character) == (5, 4)
    assert typo.source == "guerdon"

    actions = await client.text_document_code_action_async(
        types.CodeActionParams(
            text_document=document, range=typo.range, context=types.CodeActionContext(diagnostics=[typo])
        )
    )
    fix = next(each for each in actions if each.kind == types.CodeActionKind.QuickFix)
    [edit] = fix.edit.changes[uri]
    assert edit.new_text == "points"
    change = types.TextDocumentContentChangePartial(range=edit.range, text=edit.new_text)
    version = types.VersionedTextDocumentIdentifier(uri=uri, version=2)
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(text_document=version, content_changes=[change])
    )
    await until(client, uri, lambda found: not any("pionts" in each.message for each in found))

    before = PACK.splitlines()[8].partition("百")[0]
    position = types.Position(line=8, character=column(client, before))
    hover = await client.text_document_hover_async(
        types.HoverParams(text_document=document, position=position)
    )
    assert "420 元" in hover.contents.value

    position = types.Position(line=3, character=4)
    completion = await client.text_document_completion_async(
        types.CompletionParams(text_document=document, position=position)
    )
    items = completion.items if isinstance(completion, types.CompletionList) else completion
    assert "veto" in [each.label for each in items]


@pytest.mark.asyncio
async def test_shipped_packs(client: LanguageClient, tmp_path: pathlib.Path):
    for pack in sorted((ROOT / "rules").glob("*.yaml")):
        shutil.copy(pack, tmp_path)
    for pack in sorted(tmp_path.glob("*.yaml")):
        uri = opened(client, pack, pack.read_text(encoding="utf-8"))
        await until(client, uri, lambda found: not errors(found))
        edits = await client.text_document_formatting_async(
            types.DocumentFormattingParams(
                text_document=types.TextDocumentIdentifier(uri=uri),
                options=types.FormattingOptions(tab_size=2, insert_spaces=True),
            )
        )
        assert edits is not None


@pytest.mark.asyncio
async def test_quick_typing(client: LanguageClient, tmp_path: pathlib.Path):
    uri = opened(client, tmp_path / "a.yaml", "")
    text = ""
    for version, character in enumerate(PACK, start=2):
        last = text.rsplit("\n", 1)[-1]
        at = types.Position(line=text.count("\n"), character=column(client, last))
        change = types.TextDocumentContentChangePartial(
            range=types.Range(start=at, end=at), text=character
        )
        client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(uri=uri, version=version),
                content_changes=[change],
            )
        )
        text += character
        if version % 50 == 0:
            await asyncio.sleep(0)
    await until(client, uri, lambda found: any("pionts" in each.message for each in found))
