"""Many small objects of S3 at once, by obstore, which takes a sixth of s3fs's CPU for each.

s3fs finds the credentials, the region and the endpoint, however they are configured, and obstore
reads and writes with the same. Where it cannot, s3fs does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import obstore
from fsspec.asyn import sync
from obstore.exceptions import AlreadyExistsError, NotFoundError
from obstore.store import S3Store

from storage.fs.objects import Objects

if TYPE_CHECKING:
    from obstore.store import S3Credential

T = TypeVar("T")
Call = Callable[[S3Store, str, str], Awaitable[T]]

_AT_ONCE = 64
_KNOWN_FOR = timedelta(minutes=5)  # credentials, before they are asked for again
_log = logging.getLogger(__name__)


class S3Objects(Objects):
    """Small objects of S3. Thread-safe.

    Args:
        fs: s3fs's file system.
    """

    def __init__(self, fs: Any) -> None:
        super().__init__(fs)
        self._stores: dict[str, S3Store] = {}

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write objects; see `Objects.put`."""

        async def put(store: S3Store, key: str, path: str) -> None:
            # in parts, what is killed on the way would leave some that are paid for
            await obstore.put_async(store, key, files[path], use_multipart=False)

        if self._by_obstore(put, list(files)) is None:
            super().put(files)

    def get(self, paths: Sequence[str]) -> list[bytes | Exception]:
        """Read objects; see `Objects.get`."""

        async def get(store: S3Store, key: str, path: str) -> bytes | Exception:
            return bytes(await (await obstore.get_async(store, key)).bytes_async())

        found = self._by_obstore(get, paths)
        return super().get(paths) if found is None else found

    def create(self, path: str, data: bytes) -> bool:
        """Write an object unless it is there; see `Objects.create`."""

        async def create(store: S3Store, key: str, path: str) -> bool:
            try:
                await obstore.put_async(store, key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

        done = self._by_obstore(create, [path])
        return super().create(path, data) if done is None else done[0]

    def delete(self, paths: Sequence[str]) -> None:
        """Remove objects; see `Objects.delete`."""

        async def delete(store: S3Store, key: str, path: str) -> None:
            with suppress(NotFoundError):
                await obstore.delete_async(store, key)

        if self._by_obstore(delete, paths) is None:
            super().delete(paths)

    def _by_obstore(self, call: Call[T], paths: Sequence[str]) -> list[T] | None:
        """What a call gave of each path; None where obstore cannot do it, and s3fs is to try."""
        try:
            found: list[T] = sync(self._fs.loop, self._all, call, paths)
        except ExceptionGroup as failed:
            # `translate` knows what s3fs raises
            _log.info("obstore could not do it, s3fs tries: %s", failed.exceptions[0])
            return None
        return found

    async def _all(self, call: Call[T], paths: Sequence[str]) -> list[T]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(path: str) -> T:
            bucket, _, key = path.partition("/")
            async with room:
                return await call(await self._store(bucket), key, path)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(path)) for path in paths]
        return [task.result() for task in tasks]

    async def _store(self, bucket: str) -> S3Store:
        if bucket not in self._stores:
            client = await self._fs.set_session()
            endpoint = client.meta.endpoint_url
            self._stores[bucket] = S3Store(
                bucket,
                endpoint=endpoint,
                region=client.meta.region_name,
                client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s"},
                retry_config={"max_retries": 2},
                credential_provider=self._credentials,
            )
        return self._stores[bucket]

    async def _credentials(self) -> S3Credential:
        fs = self._fs
        access, secret, token = fs.key, fs.secret, fs.token
        if not access:
            keys = await (await fs.session.get_credentials()).get_frozen_credentials()
            access, secret, token = keys.access_key, keys.secret_key, keys.token
        return {
            "access_key_id": access,
            "secret_access_key": secret,
            "token": token,
            "expires_at": datetime.now(UTC) + _KNOWN_FOR,
        }
