"""Object stores (Azure Blob, S3 and what speaks like it) through fsspec: opening, moving objects, saying what is wrong.

Credentials and endpoints are read from the environment by the libraries themselves, never by us, and never stand in a
URL. Callers know what lies in a store: drops are in `ingestion/zone.py`, published snapshots in
`publishing/mirror.py`.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ecommerce_platform.errors import InputError, PassingError, PlatformError, SettingsError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Protocol → kind of store.
PROTOCOLS = {"az": "azure", "abfs": "azure", "abfss": "azure", "s3": "s3", "s3a": "s3"}
#: What is set wrong when a store lets nobody in.
_CREDENTIALS = {
    "azure": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, "
    "AZURE_STORAGE_SAS_TOKEN or a login that DefaultAzureCredential finds",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE or a role",
}
_ENDPOINTS = {"azure": "the account's name or the connection string", "s3": "AWS_ENDPOINT_URL"}
#: What file systems call the thing that changes when a file changes, the most telling first.
_ETAGS = ("ETag", "etag", "md5Hash", "content_md5")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")

#: Small objects move so many at a time, large ones one by one: that bounds memory, and each uses the line well.
_AT_ONCE, _LARGE = 16, 32 << 20
#: Times that a request is made, or an object moved, when what stands in the way may pass, and seconds between two.
_TRIES, _PAUSE = 3, 2

T = TypeVar("T")
R = TypeVar("R")


def protocol(place: str) -> str | None:
    """The protocol of a URL; None for the path of a folder."""
    found = _URL.match(place)
    return found.group(1).lower() if found else None


def check_url(url: str, where: str | None = None) -> None:
    """Refuses what is no URL of a container (bucket) or a prefix in it.

    Args:
        url: `az://container/prefix`, `s3://bucket/prefix`.
        where: the variable it comes from, for messages.

    Raises:
        SettingsError: says what is wrong, without what might be a secret in it.
    """
    kind = PROTOCOLS.get(protocol(url) or "")
    shown = without_secrets(url)
    if kind is None:
        raise SettingsError(
            f"{shown!r} is no object store that is known",
            where=where,
            fix="write az://container/prefix (Azure Blob) or s3://bucket/prefix (S3 and compatible stores)",
        )
    host, _, rest = _URL.sub("", url, count=1).partition("/")
    # abfss://container@account.dfs.core.windows.net/… names an account, no user.
    user, at, _ = host.rpartition("@")
    if "?" in url or ":" in user or (at and kind != "azure"):
        raise SettingsError(
            f"{shown!r} holds more than a container and a prefix",
            where=where,
            fix=f"leave out what stands after '?' or before '@'; credentials come from the environment: {_CREDENTIALS[kind]}",
        )
    if not host or any(part in (".", "..") for part in rest.split("/")) or "//" in rest:
        raise SettingsError(
            f"{shown!r} names no container", where=where, fix="write az://container/prefix or s3://bucket/prefix"
        )


def without_secrets(url: str) -> str:
    """A URL as it may be shown: without user, password and signature."""
    return re.sub(r"\?.*", "?…", re.sub(r"//[^/@]*:[^/]*@", "//…@", url))


@dataclass(frozen=True)
class Entry:
    """An object as a listing shows it. `version` is another one whenever its content is."""

    size: int
    version: str
    #: When it was written; None where the store does not say.
    modified: Any = None


def entry(info: Mapping[str, Any]) -> Entry:
    """What fsspec says of an object, in our words. An etag tells content; where there is none, the time must do."""
    version = next((info[name] for name in (*_ETAGS, *_TIMES) if info.get(name) is not None), "")
    modified = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    return Entry(int(info.get("size") or 0), str(version), modified)


class ObjectStore:
    """A container (bucket), or what lies below a prefix in it. Names are relative to that.

    Nothing is opened before it is used. Every method raises a `PlatformError` for what a user can put right, a
    `PassingError` for what may be gone at the next try.
    """

    def __init__(self, url: str) -> None:
        """Args: url: `az://container/prefix`, `s3://bucket/prefix`.

        Raises:
            SettingsError: it is no such URL.
        """
        check_url(url)
        self.url = url.rstrip("/")
        self.kind = PROTOCOLS[protocol(url) or ""]

    @cached_property
    def _opened(self) -> tuple[AbstractFileSystem, str]:
        from fsspec.core import url_to_fs

        # Listings must be new each time; an instance that is shared would keep the credentials of earlier ones.
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if self.kind == "s3":
            # s3fs tries five times what botocore has tried five times: most of a minute until one knows.
            options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": _TRIES}}
        try:
            fs, root = url_to_fs(self.url, **options)
        except ImportError as error:
            raise SettingsError(
                f"a library is missing ({error.name or error})",
                where=self.url,
                fix="pip install 'ecommerce_platform[sources]'",
            ) from None
        except ValueError as error:
            raise SettingsError(
                f"there is nothing to connect with ({_first_line(error)})",
                where=self.url,
                fix=f"set {_CREDENTIALS[self.kind]}",
            ) from None
        if self.kind == "azure":
            _less_patient(fs)
        else:
            fs.retries = _TRIES
        return fs, root.rstrip("/")

    @property
    def fs(self) -> AbstractFileSystem:
        """The file system."""
        return self._opened[0]

    @property
    def root(self) -> str:
        """The container and the prefix, as the file system writes them."""
        return self._opened[1]

    def path(self, name: str) -> str:
        """An object's name as the file system writes it."""
        return f"{self.root}/{name}"

    def explained(self, name: str = "") -> Any:
        """A block in which what the store's library raises becomes what the user can do."""
        return explained(f"{self.url}/{name}" if name else self.url)

    def objects(self, below: str = "") -> dict[str, Entry]:
        """All objects below a name, by name, in one listing."""
        with self.explained(below):
            found = self.fs.find(self.path(below) if below else self.root, detail=True)
        skip = len(self.root) + 1
        return {
            path[skip:]: entry(info)
            for path, info in (found.items() if isinstance(found, dict) else ())
            if info.get("type") != "directory" and not path.endswith("/")
        }

    def look(self, name: str) -> Entry | None:
        """An object as it stands there now; None when there is none."""
        with self.explained(name):
            try:
                info = self.fs.info(self.path(name), refresh=True)
            except FileNotFoundError:
                return None
        return entry(info) if info.get("type") == "file" else None

    def read(self, name: str) -> bytes | None:
        """The content of a small object; None when there is none."""
        with self.explained(name):
            try:
                content: bytes = self.fs.cat_file(self.path(name))
            except FileNotFoundError:
                return None
            return content

    def write(self, name: str, content: bytes) -> None:
        """Writes an object, whole or not at all."""
        with self.explained(name):
            self.fs.pipe_file(self.path(name), content)

    def download(self, name: str, target: Path, size: int) -> None:
        """Brings an object into a local file.

        Raises:
            PassingError: also when it is not there (any more).
        """

        def get() -> None:
            try:
                self.fs.get_file(self.path(name), str(target), max_concurrency=4 if size > _LARGE else 1)
            except FileNotFoundError:
                raise PassingError(
                    "the file is gone", where=f"{self.url}/{name}", fix="list the drops again and load again"
                ) from None

        with self.explained(name):
            self._stubbornly(get)

    def upload(self, source: Path, name: str) -> None:
        """Brings a local file into the store, whole or not at all."""
        with self.explained(name):
            self._stubbornly(lambda: self.fs.put_file(str(source), self.path(name), max_concurrency=2))

    def copy(self, name: str, target: str) -> None:
        """Copies an object within the store, without bringing it here."""
        with self.explained(target):
            self._stubbornly(lambda: self.fs.cp_file(self.path(name), self.path(target)))
            if self.kind == "azure":
                _wait_for_copy(self.fs, self.path(target))

    def remove(self, names: Iterable[str]) -> None:
        """Removes objects; those that are gone already do not matter."""

        def gone(name: str) -> None:
            with self.explained(name), suppress(FileNotFoundError):
                self.fs.rm_file(self.path(name))

        each(gone, list(names))

    def _stubbornly(self, move: Callable[[], None]) -> None:
        """Again from the beginning after what may pass: an object comes whole or not."""
        for attempt in range(_TRIES):
            try:
                return move()
            except Exception as error:
                if attempt + 1 == _TRIES or not isinstance(as_platform_error(error, self.url), PassingError):
                    raise
            time.sleep(_PAUSE)


def each(do: Callable[[T], R], items: Sequence[T], size: Callable[[T], int] = lambda item: 0) -> list[R]:
    """The results of `do` for each item, in order: large ones one after the other, the others several at a time."""
    results: dict[int, R] = {n: do(item) for n, item in enumerate(items) if size(item) > _LARGE}
    small = [n for n in range(len(items)) if n not in results]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            results.update(zip(small, pool.map(do, [items[n] for n in small]), strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [results[n] for n in range(len(items))]


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turns what a store's library raises into what the user can do.

    What the libraries say is told in part and not chained: it may quote signed requests.
    """
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        found = as_platform_error(error, where)
        if found is None:
            raise
        raise found from None


def as_platform_error(error: Exception, where: str) -> PlatformError | None:
    """What the user can do about an exception of fsspec, azure, botocore or aiohttp; None for one that is a bug."""
    if isinstance(error, PlatformError):
        return error
    chain = [error, *_causes(error)]
    names = {cls.__name__ for e in chain for cls in type(e).__mro__}
    status = next((s for e in chain if (s := _status(e))), 0)
    numbers = {e.errno for e in chain if isinstance(e, OSError)}
    kind = PROTOCOLS.get(protocol(where) or "", "")
    credentials = _CREDENTIALS.get(kind, "the credentials in the environment")
    said = _first_line(error)
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return InputError(
            "the disk is full", where=where, fix="free some space, or set ECOMMERCE_DATA_DIR to a larger disk"
        )
    if names & {"NoCredentialsError", "PartialCredentialsError", "CredentialUnavailableError", "ProfileNotFound"}:
        return SettingsError(f"no credentials were found ({said})", where=where, fix=f"set {credentials}")
    if "PermissionError" in names or "ClientAuthenticationError" in names or status in (401, 403):
        code = next((str(c) for e in chain if (c := getattr(e, "error_code", None))), None)
        return SettingsError(
            f"access is refused ({getattr(code, 'value', code) or said})",
            where=where,
            fix=f"check {credentials}, and that they may list, read and (for landing and publishing) write there",
        )
    if "FileNotFoundError" in names or status == 404:
        return InputError(
            "there is no such container, bucket or object", where=where, fix="check the URL, or create the container"
        )
    unreachable = {
        "ServiceRequestError", "ServiceResponseError", "EndpointConnectionError", "HTTPClientError", "ClientConnectorError",
        "ConnectionError", "TimeoutError", "FSTimeoutError", "ClientError", "IncompleteReadError", "gaierror",
    }  # fmt: skip
    # botocore and aiohttp each have a ClientError: that of botocore is an answer of the store and has a status.
    if status >= 500 or status in (408, 429) or (not status and names & unreachable):
        return PassingError(
            f"the store cannot be reached or does not answer ({said})",
            where=where,
            fix=f"check the network and {_ENDPOINTS.get(kind, 'the endpoint')}; nothing was changed, try again",
        )
    if numbers & {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO), errno.EIO}:
        return PassingError(f"the store is busy ({said})", where=where, fix="try again in a while")
    if status or isinstance(error, OSError):
        return InputError(
            f"the store answers: {said}",
            where=where,
            fix=f"check the URL and {_ENDPOINTS.get(kind, 'the endpoint')} (for S3 also AWS_DEFAULT_REGION)",
        )
    return None


def _causes(error: BaseException) -> list[Exception]:
    found: list[Exception] = []
    while (cause := error.__cause__ or error.__context__) and cause not in found:
        if isinstance(cause, Exception):
            found.append(cause)
        error = cause
    return found


def _status(error: BaseException) -> int:
    """The HTTP status of an answer, as azure and botocore keep it."""
    status = getattr(error, "status_code", None)
    if status is None and isinstance(response := getattr(error, "response", None), dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status if isinstance(status, int) else 0


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    # A request's query may be signed.
    return without_secrets(lines[0])[:200] if lines else type(error).__name__


def _less_patient(fs: Any) -> None:
    """Azure's library waits a minute before it says that nobody answers: a sensor's tick would be over before."""
    from azure.storage.blob.aio import BlobServiceClient, LinearRetry

    old = fs.service_client
    fs.service_client = BlobServiceClient(
        old.url,
        credential=old.credential,
        retry_policy=LinearRetry(backoff=_PAUSE, retry_total=_TRIES, random_jitter_range=1),
    )


def _wait_for_copy(fs: Any, path: str) -> None:
    """Azure copies in its own time; adlfs does not wait for it."""
    import asyncio

    from fsspec.asyn import sync

    async def wait() -> str:
        container, blob, _ = fs.split_path(path)
        async with fs.service_client.get_blob_client(container, blob) as client:
            while (status := (await client.get_blob_properties()).copy.status) == "pending":
                await asyncio.sleep(0.2)
            return str(status)

    if (status := sync(fs.loop, wait)) != "success":
        raise PassingError(f"the copy ended as {status!r}", where=path, fix="try again")
