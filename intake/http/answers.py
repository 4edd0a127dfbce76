"""Errors as clients get them: application/problem+json, whatever was raised."""

from __future__ import annotations

from http import HTTPStatus

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prefect.exceptions import PrefectHTTPStatusError
from starlette.exceptions import HTTPException

from intake.control.batches import BatchError, UnknownBatchError
from intake.control.connection import explain_server
from intake.http.problems import MEDIA_TYPE, ProblemBody, ProblemError, later, short, told
from storage.errors import OutputError, StorageError, TransientError
from storage.fs.redact import shown

_LONGEST = 4000  # characters of a detail


def _problem_of(error: Exception) -> ProblemError:
    """What an error means to a client."""
    match error:
        case ProblemError():
            return error
        case UnknownBatchError():
            return ProblemError(404, str(error))
        case BatchError():
            return ProblemError(409, str(error))
        case TransientError():
            return later(503, f"{error}.")
        case OutputError():
            return ProblemError(409, str(error))
        case StorageError():
            return ProblemError(422, str(error))
        case RequestValidationError():
            return ProblemError(422, told(error.errors()))
        case HTTPException():
            return ProblemError(error.status_code, _sentence(error), error.headers)
        case httpx.TransportError() | PrefectHTTPStatusError():
            return later(503, explain_server(error))
        case _:
            return ProblemError(500, "Facecrop itself failed on this request; its log says more.")


def answer(_: Request, error: Exception) -> JSONResponse:
    """The response to an error."""
    problem = _problem_of(error)
    detail = short(shown(str(problem)), _LONGEST)
    body = ProblemBody(
        title=HTTPStatus(problem.status).phrase,
        status=problem.status,
        # half a surrogate pair, which JSON can spell, is no text
        detail=detail.encode(errors="replace").decode(),
    )
    return JSONResponse(
        body.model_dump(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def add_handlers(app: FastAPI) -> None:
    """Has every error of an application end as a problem."""
    known = (ProblemError, BatchError, TransientError, StorageError)
    foreign = (HTTPException, httpx.HTTPError, RequestValidationError, Exception)
    for kind in (*known, *foreign):
        app.add_exception_handler(kind, answer)


def _sentence(error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address; /docs lists what there is."
    if error.status_code == 405:
        return "This address does not take that method; /docs lists what it takes."
    return str(error.detail)
