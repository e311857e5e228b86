"""The server behind the page: what it answers, and to what address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from .. import __version__
from ..errors import BadSetting, EngramError, UnknownName
from ..models.loading import SHIPPED
from ..report.live import library
from . import runs as runs_of
from .kept import kept
from .plans import described
from .security import Guard
from .serving import Serving, serving
from .views.base import views
from .views.keeping import saved
from .work import Busy, Job, Work, chosen, failure, worded

STATIC = Path(__file__).parent / "static"

ModelName = Annotated[str, Field(min_length=1, max_length=300)]


class Wanted(BaseModel):
    """What is sent to have something done: which view, of which model, and what the view is given."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    view: Annotated[str, Field(min_length=1, max_length=40)]
    model: ModelName | None = None
    given: dict[str, Any] = Field(default_factory=dict, max_length=60)


def create_app(model_default: str, runs: Path, token: str, told: Serving | None = None) -> Guard:
    """The whole server as an ASGI application: the page, what it asks, and the guard before both.

    `runs` is the folder whose runs are shown, and the only one that is read; edits are saved there. Whoever asks has to
    know `token`. Models are loaded when they are first asked, as `told` says; it also names the facts.

    >>> guard = create_app("engram:masked", Path("runs"), "secret")
    >>> guard.most
    262144
    """
    kept.folder = runs
    as_told = told or Serving()
    serving.dtype, serving.device, serving.data = as_told.dtype, as_told.device, as_told.data
    work = Work()

    @asynccontextmanager
    async def living(_app: FastAPI) -> AsyncIterator[None]:
        yield
        work.close()

    app = FastAPI(
        title="engram", version=__version__, docs_url=None, redoc_url=None, openapi_url="/api/openapi.json",
        lifespan=living,
    )  # fmt: skip
    app.include_router(_page(model_default))
    app.include_router(_working(work, model_default))
    app.include_router(_edits())
    app.include_router(runs_of.router(runs))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(EngramError, _asked_wrongly)
    app.add_exception_handler(RequestValidationError, _sent_wrongly)
    app.add_exception_handler(HTTPException, _not_there)
    app.add_exception_handler(Exception, _failed)
    return Guard(app, token)


def _page(model_default: str) -> APIRouter:
    """The page, and what it has to know first."""
    routes = APIRouter()
    models = list(dict.fromkeys([model_default, *SHIPPED]))

    @routes.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @routes.get("/static/plotly.js", include_in_schema=False)
    def plotly() -> Response:
        return Response(library(), media_type="text/javascript", headers={"Cache-Control": "max-age=3600"})

    @routes.get("/api/page")
    def known() -> dict[str, Any]:
        """The version, the default model, the models that are always there, the parts of the page, its editors."""
        parts = sorted(p.stem for p in (STATIC / "parts").glob("*.js"))
        told = {"dtype": serving.dtype, "device": serving.device, "data": serving.data, "facts": serving.facts_words}
        return {"version": __version__, "model": model_default, "models": models, "parts": parts,
                "editors": described(), **told}  # fmt: skip

    @routes.get("/api/models")
    def listed() -> dict[str, Any]:
        """Models that can be named; any folder of a checkpoint or id of the hub can, too."""
        return {"default": model_default, "models": models}

    return routes


def _working(work: Work, model_default: str) -> APIRouter:
    """Jobs: begun, listened to, cancelled."""
    routes = APIRouter(prefix="/api/jobs")

    @routes.post("")
    def begin(wanted: Wanted) -> dict[str, str]:
        """Do this; where to listen."""
        view = chosen(views[wanted.view], wanted.given)
        return {"job": work.submit(view, wanted.model or model_default).id}

    @routes.get("/{job}/events")
    def events(job: str) -> StreamingResponse:
        """Its progress and its result, as server-sent events. They can be asked for again after the end."""
        return StreamingResponse(_stream(work[job]), media_type="text/event-stream")

    @routes.delete("/{job}")
    def cancel(job: str) -> dict[str, str]:
        """Stop it."""
        work.cancel(job)
        return {"job": job}

    return routes


async def _stream(job: Job) -> AsyncIterator[str]:
    async for event in job.events():
        yield ": alive\n\n" if event is None else f"event: {event[0]}\ndata: {event[1]}\n\n"


def _edits() -> APIRouter:
    """The edits that were planned on the page."""
    routes = APIRouter(prefix="/api/edits")

    @routes.get("")
    def listed(model: Annotated[str, Query(min_length=1, max_length=300)]) -> dict[str, Any]:
        """Those of this model, and the names of those that were saved in the runs' folder."""
        return {"edits": kept.listed(model), "saved": saved()}

    @routes.delete("/{edit}")
    def forget(edit: str) -> dict[str, Any]:
        """Is it gone now, having been there? If not, why."""
        try:
            return {"forgotten": kept.forget(edit), "why": ""}
        except BadSetting as error:  # another rests on it: an answer, and no mistake of the page
            return {"forgotten": False, "why": str(error)}

    return routes


def _asked_wrongly(_request: Request, error: Exception) -> JSONResponse:
    missing = isinstance(error, UnknownName) and error.kind in ("job", "run")
    status = 404 if missing else 503 if isinstance(error, Busy) else 400
    return JSONResponse({"message": str(error)}, status)


def _sent_wrongly(_request: Request, error: Exception) -> JSONResponse:
    said = worded(error.errors()) if isinstance(error, RequestValidationError) else str(error)
    return JSONResponse({"message": said}, 422)


def _not_there(_request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 404
    return JSONResponse({"message": f"{getattr(error, 'detail', error)}"}, status)


def _failed(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"message": failure()}, 500)
