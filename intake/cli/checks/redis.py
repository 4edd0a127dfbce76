"""The Redis of the Prefect server, where this environment names one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from urllib.parse import quote

from intake.cli.checks.check import Check, since
from storage.fs.redact import shown
from tasks.variables import DOCKET_URL, MESSAGING

_SECONDS = 5
_TRUE = ("1", "true", "t", "yes", "y", "on")  # as Prefect reads a setting


def redis(environ: Mapping[str, str]) -> Iterator[Check]:
    """A ping of each Redis that this environment names; on most machines that is none."""
    messaging = _messaging_url(environ)
    if messaging:
        yield _ping("PREFECT_REDIS_MESSAGING_*", messaging)
    docket = environ.get(DOCKET_URL.name, "")
    if docket.startswith("redis"):
        yield _ping(DOCKET_URL.name, docket)


def _messaging_url(environ: Mapping[str, str]) -> str:
    """The Redis of prefect-redis's settings as a URL; "" if there are none."""
    prefix = MESSAGING.name.removesuffix("URL")
    given = {
        name.removeprefix(prefix): value
        for name, value in environ.items()
        if name.startswith(prefix) and value
    }
    if "URL" in given or not given.keys() & {"HOST", "PORT"}:
        return given.get("URL", "")
    scheme = "rediss" if given.get("SSL", "").lower() in _TRUE else "redis"
    user, password = (quote(given.get(key, ""), safe="") for key in ("USERNAME", "PASSWORD"))
    login = f"{user}:{password}@" if password else ""
    host, port = given.get("HOST", "localhost"), given.get("PORT", "6379")
    return f"{scheme}://{login}{host}:{port}/{given.get('DB', '0')}"


def _ping(variable: str, url: str) -> Check:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    name = "Redis"
    where = f"{shown(url)} of {variable}"
    if "+" in url.partition("://")[0]:
        return Check(name, "-", f"{where}: only redis:// and rediss:// are tried")
    started = time.monotonic()
    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=_SECONDS,
            socket_connect_timeout=_SECONDS,
            protocol=2,  # as prefect-redis has it, for Redis before 6
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        told = shown(" ".join(str(error).split()))
        return Check(name, "bad", f"{where}: {told}", f"start it, or correct {variable}")
    except ValueError:  # which may quote the password
        return Check(name, "bad", f"{where}: is no address of a Redis", f"correct {variable}")
    return Check(name, "ok", f"{where} answers, in {since(started)}")
