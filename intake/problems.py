"""Errors as clients get them: application/problem+json (RFC 9457), one sentence each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prefect.exceptions import PrefectHTTPStatusError
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from intake.batches import BatchError, UnknownBatchError
from intake.exits import mask
from intake.limits import FullError
from intake.multipart import MultipartError
from intake.prefixes import ForbiddenUriError
from intake.queues import explain_server
from storage.errors import OutputError, StorageError, TransientError

MEDIA_TYPE = "application/problem+json"
_LATER_SECONDS = 5


class ProblemBody(BaseModel):
    """What went wrong."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class ProblemError(Exception):
    """An answer that ends a request.

    Args:
        status: of HTTP.
        detail: one sentence.
        headers: of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})


def later(status: int, detail: str, seconds: float = _LATER_SECONDS) -> ProblemError:
    """A problem that is over in some seconds."""
    return ProblemError(status, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def invalid(error: ValidationError) -> ProblemError:
    """The problem of a value that cannot be; it names the field."""
    return ProblemError(422, _faults(error.errors()))


def problem_of(error: Exception) -> ProblemError:
    """What an error means to a client."""
    match error:
        case ProblemError():
            return error
        case UnknownBatchError():
            return ProblemError(404, str(error))
        case BatchError():
            return ProblemError(409, str(error))
        case ForbiddenUriError():
            return ProblemError(403, str(error))
        case MultipartError():
            return ProblemError(400, str(error))
        case FullError():
            return later(503, f"{error}; try again in a moment.")
        case TransientError():
            return later(503, f"{error}.")
        case OutputError():
            return ProblemError(409, str(error))
        case StorageError():
            return ProblemError(422, str(error))
        case RequestValidationError():
            return ProblemError(422, _faults(error.errors()))
        case HTTPException():
            return ProblemError(error.status_code, _sentence(error), error.headers)
        case httpx.TransportError() | PrefectHTTPStatusError():
            return later(503, explain_server(error))
        case _:
            return ProblemError(500, "Facecrop itself failed on this request; its log says more.")


def add_handlers(app: FastAPI) -> None:
    """Has every error of an application end as a problem."""

    def answer(_: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        body = ProblemBody(
            title=HTTPStatus(problem.status).phrase,
            status=problem.status,
            detail=mask(str(problem)),
        )
        return JSONResponse(
            body.model_dump(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
        )

    known = (ProblemError, BatchError, ForbiddenUriError, MultipartError, FullError, TransientError)
    foreign = (StorageError, HTTPException, httpx.HTTPError, RequestValidationError)
    for kind in (*known, *foreign, Exception):
        app.add_exception_handler(kind, answer)


def _sentence(error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address; /docs lists what there is."
    if error.status_code == 405:
        return "This address does not take that method; /docs lists what it takes."
    return str(error.detail)


def _faults(faults: Any) -> str:
    return "; ".join(_fault(fault) for fault in faults)


def _fault(fault: Any) -> str:
    name = ".".join(str(part) for part in fault["loc"] if part not in ("query", "path", "header"))
    message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return f"{name}: {message}"
