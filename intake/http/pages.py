"""The service's description of itself, and the page that shows it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

from intake.http.dependencies import Caller

_SWAGGER_UI = "https://cdn.jsdelivr.net/npm/swagger-ui-dist@5.35.0"
_SCRIPT, _STYLE = f"{_SWAGGER_UI}/swagger-ui-bundle.js", f"{_SWAGGER_UI}/swagger-ui.css"
_INTEGRITY = {
    _SCRIPT: "sha384-gjRm0bEPMeTmMh5jT2cHccIwCUZSTd8YC+j0d0sXw0MdGEfScduGpSyF3ZSSLkX9",
    _STYLE: "sha384-WlYgdmXYOOBWL5apwjDEZwN+U3HmXSSu5R6V5aGxEcf7z+KuRNwBhoxKVN1i3D5I",
}
"""What the package `swagger-ui-dist` of that version has: a browser runs nothing else (W3C SRI)."""


def add_pages(app: FastAPI) -> None:
    """Add `/docs` and `/openapi.json`, for whoever may call the service."""

    @app.get("/openapi.json", include_in_schema=False)
    async def document(who: Caller) -> dict[str, Any]:
        return app.openapi()

    @app.get("/docs", include_in_schema=False)
    async def docs(who: Caller) -> HTMLResponse:
        made = get_swagger_ui_html(
            openapi_url="openapi.json",  # relative, as a proxy may put a path before both
            title=f"{app.title} {app.version}",
            swagger_js_url=_SCRIPT,
            swagger_css_url=_STYLE,
            swagger_favicon_url="data:,",
        )
        page = bytes(made.body).decode()
        for url, known in _INTEGRITY.items():
            page = page.replace(f'"{url}"', f'"{url}" integrity="{known}" crossorigin="anonymous"')
        return HTMLResponse(page)
