"""Which parts of a message are documents whose text can be searched.

Invariants: the file's name counts before the declared type, for senders declare octet streams; what is not on the list
is no document.
"""

from __future__ import annotations

from mailstead.message.mime import Part

_BY_NAME = {
    "pdf": "pdf", "docx": "docx", "docm": "docx", "dotx": "docx", "odt": "odf", "ott": "odf", "ods": "odf", "odp": "odf",
    "xlsx": "xlsx", "xlsm": "xlsx", "pptx": "pptx", "html": "html", "htm": "html", "xhtml": "html",
}  # fmt: skip
_BY_TYPE = {
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "application/xhtml+xml": "html",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.text": "odf",
    "application/vnd.oasis.opendocument.spreadsheet": "odf",
    "application/vnd.oasis.opendocument.presentation": "odf",
}
#: Kinds of documents.
KINDS = frozenset(_BY_NAME.values())


def document_kind(part: Part) -> str:
    """pdf, docx, xlsx, pptx, odf or html; empty for what is no document, and for text parts (search has those anyway)."""
    if part.type in ("text", "multipart") or part.embedded is not None:
        return ""
    by_name = _BY_NAME.get(part.filename.rpartition(".")[2].lower()) if "." in part.filename else None
    return by_name or _BY_TYPE.get(f"{part.type}/{part.subtype}", "")
