"""One door to the five formats, for the command line and the service alike."""

from __future__ import annotations

from typing import Final

from savings.errors import SavingsError
from savings.report import Report

MEDIA_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
"""Format -> what an HTTP answer calls it."""


def render(report: Report, form: str, language: str = "en") -> bytes:
    """The report as the bytes of a file; only the chosen renderer is imported.

    Raises:
        SavingsError: an unknown format or language, or the extra `report` is not installed.
    """
    if form == "html":
        from savings.render_html import html

        return html(report, language).encode()
    if form == "pdf":
        from savings.render_pdf import pdf

        return pdf(report, language)
    if form == "xlsx":
        from savings.render_xlsx import xlsx

        return xlsx(report, language)
    from savings.render_data import csv_text, json_text

    if form not in MEDIA_TYPES:
        raise SavingsError(f"unknown format {form!r}; known: {', '.join(MEDIA_TYPES)}")
    return (csv_text if form == "csv" else json_text)(report).encode()
