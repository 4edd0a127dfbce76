"""Many small objects to S3 at once, by obstore, which takes a sixth of s3fs's CPU for each.

s3fs finds the credentials, the region and the endpoint, however they are configured, and obstore
writes with the same. Where it cannot, s3fs writes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import obstore
from fsspec.asyn import sync
from obstore.store import S3Store
from s3fs import S3FileSystem

if TYPE_CHECKING:
    from obstore.store import S3Credential

_AT_ONCE = 64
_KNOWN_FOR = timedelta(minutes=5)  # credentials, before they are asked for again
_log = logging.getLogger(__name__)


class Puts:
    """Writes small objects on one file system. Thread-safe.

    Args:
        fs: any fsspec file system; all but s3fs's write by themselves.
    """

    def __init__(self, fs: Any) -> None:
        self._fs = fs
        self._stores: dict[str, S3Store] = {}

    def put(self, files: Mapping[str, bytes]) -> None:
        """Writes objects, by path; each is there whole or not at all.

        Raises:
            What the file system raises. Some of them may be there then.
        """
        # who wants objects encrypted or owned in some way has told s3fs alone
        if isinstance(self._fs, S3FileSystem) and not self._fs.s3_additional_kwargs:
            try:
                sync(self._fs.loop, self._put, files)
            except ExceptionGroup as failed:
                # s3fs tries all of it again, and what it raises is known how to be told
                _log.info("obstore could not write, s3fs does: %s", failed.exceptions[0])
            else:
                return
        self._fs.pipe(dict(files))

    async def _put(self, files: Mapping[str, bytes]) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def put(path: str, data: bytes) -> None:
            bucket, _, key = path.partition("/")
            async with room:
                store = await self._store(bucket)
                # in parts, what is killed on the way would leave some that are paid for
                await obstore.put_async(store, key, data, use_multipart=False)

        async with asyncio.TaskGroup() as tasks:
            for path, data in files.items():
                tasks.create_task(put(path, data))

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
