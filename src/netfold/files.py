"""Files that are written whole or not at all, and read with suspicion."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import platform
import re
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from netfold.arrays import require_room
from netfold.errors import CorruptFileError, InvalidInputError, NetfoldError, UntrustedFileError, UnwritableFileError

if TYPE_CHECKING:
    import xarray as xr

Read = TypeVar("Read")

SEAL = b"netfold saved this\n"
"""Stands before the checksum of a netCDF file, at its end."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
PICKLE_SIGNATURES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


@contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file to write to; it takes the place of ``path`` only when the block ends well.

    A reader sees the old file or the new one, never a part: the temporary file lies in the same folder, is
    flushed to the disk and then renamed. After an error or Ctrl-C it is removed and ``path`` is as before; what
    a killed process left is removed by the next one that writes to ``path``.

    Args:
        path: the file to write. Its folder must exist.

    Yields:
        The temporary file's path. It exists and is empty.

    Raises:
        InvalidInputError: ``path`` is a folder, a device or a pipe, or its folder does not exist.
        UnwritableFileError: the disk is full, or the folder may not be written to.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with write_atomically(Path(folder) / "numbers.txt") as temporary:
        ...         _ = temporary.write_text("1 2 3")
        ...     (Path(folder) / "numbers.txt").read_text()
        '1 2 3'
    """
    target = Path(path).absolute()
    with telling_of_writing(target):
        temporary = temporary_beside(target)
        try:
            yield temporary
            with temporary.open("rb+") as written:
                os.fsync(written.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def telling_of_writing(target: Path) -> Iterator[None]:
    """What goes wrong with a temporary file is told of the file that it is for.

    Raises:
        UnwritableFileError: the disk is full, or the folder may not be written to.
    """
    try:
        yield
    except NetfoldError:
        raise
    except (OSError, sqlite3.OperationalError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UnwritableFileError(f"{target} could not be written ({why}) and is as it was") from error


def temporary_beside(target: Path) -> Path:
    """A new, empty file in the same folder, with the target's rights; its name says whose process it is.

    Raises:
        InvalidInputError: ``target`` is a folder, a device or a pipe, or its folder does not exist.
    """
    if target.is_dir():
        raise InvalidInputError(f"cannot write the file {target}: a folder has this name; choose another name")
    if not target.parent.is_dir():
        raise InvalidInputError(f"cannot write {target}: the folder {target.parent} does not exist; make it first")
    if target.exists() and not target.is_file():
        what = _kind(target.stat().st_mode)
        raise InvalidInputError(f"cannot write {target}: it is {what}, which a file would replace; name a file")
    remove_leftovers(target)
    owner = f"{_machine()}-{os.getpid()}"
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.{owner}.", suffix=".part", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask())
    return temporary


def remove_leftovers(target: Path) -> None:
    """Remove the temporary files for a target whose processes, on this machine, have ended."""
    mine = re.compile(rf"{re.escape(f'.{target.name}.{_machine()}-')}(\d+)\.\w+\.part.*")
    for found in target.parent.glob(f".{glob.escape(target.name)}.*.part*"):
        owner = mine.fullmatch(found.name)
        if owner and not _runs(int(owner[1])):
            found.unlink(missing_ok=True)


def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    if os.name == "nt":
        return True  # where the question would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Refuse to work in a folder, or on a file, while another process does.

    Raises:
        UnwritableFileError: another one does.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UnwritableFileError(f"another process works with {path}; wait for it, or name another one") from None
        yield
    finally:
        os.close(handle)


def require_file(path: str | os.PathLike[str], what: str = "file") -> None:
    """Refuse devices, pipes and sockets, which have no end or never begin, before anything waits for them.

    Raises:
        FileNotFoundError: there is nothing of this name.
        InvalidInputError: it is no regular file, or larger than this machine's memory.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInputError(f"the {what} {path} is {_kind(found.st_mode)}, not a file; name a file")
    require_room(path, found.st_size)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def require_sealed(path: str | os.PathLike[str]) -> None:
    """Refuse a netCDF file that is not to the last bit what `write_dataset` wrote, before anything tries to open it.

    The library that reads HDF5 trusts what it reads: damage can make it wait for ever, take any amount of memory, or
    give other numbers without a word.

    Raises:
        FileNotFoundError: there is no such file.
        UntrustedFileError: the file is a pickle.
        CorruptFileError: the file is empty, damaged or something else.
        InvalidInputError: it is no file, or larger than this machine's memory.
    """
    require_file(path)
    content = Path(path).read_bytes()
    body, seal = content[: -len(SEAL) - 32], content[-len(SEAL) - 32 :]
    if content.startswith(PICKLE_SIGNATURES):
        raise UntrustedFileError(
            f"{path} is a Python pickle, which could run any code when opened; netfold only opens netCDF "
            "files that its own save() wrote"
        )
    if body.startswith(HDF5_SIGNATURE) and seal == SEAL + hashlib.sha256(body).digest():
        return
    if not content:
        what = "is empty"
    elif body.startswith(HDF5_SIGNATURE):
        what = "is damaged, was changed since it was saved, or comes from something else (its checksum does not fit)"
    else:
        what = "does not start as a netCDF-4 (HDF5) file does"
    raise CorruptFileError(f"{path} {what}; expected a file that netfold's save() wrote")


def write_dataset(dataset: xr.Dataset, path: str | os.PathLike[str]) -> None:
    """Write a dataset to a netCDF-4 file, whole or not at all."""
    write_groups({"/": dataset}, path)


def write_groups(groups: Mapping[str, xr.Dataset], path: str | os.PathLike[str]) -> None:
    """Write datasets to the groups of a netCDF-4 file, whole or not at all.

    The file is made in memory: on a disk that is full the library of HDF5 ends the process, not the call. What follows
    it is the checksum that `require_sealed` looks for; readers of netCDF do not see it.
    """
    import xarray as xr

    made = io.BytesIO()
    xr.DataTree.from_dict(dict(groups)).to_netcdf(made, engine="h5netcdf")
    content = made.getbuffer()
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.write(SEAL + hashlib.sha256(content).digest())


def read_dataset(
    path: str | os.PathLike[str],
    form: str,
    what: str,
    build: Callable[[xr.Dataset], Read],
    group: str | None = None,
) -> Read:
    """Read what `write_dataset` wrote.

    Args:
        path: the file, and ``group`` a group in it.
        form: what the dataset's attribute ``format`` must say.
        what: what is read, for errors: "trace".
        build: makes it of the dataset; whatever it raises means that the file is damaged.

    Raises:
        FileNotFoundError: there is no such file.
        UntrustedFileError: the file is a pickle.
        CorruptFileError: the file is damaged, or holds something else.
    """
    import xarray as xr

    require_sealed(path)
    try:
        with xr.open_dataset(path, engine="h5netcdf", group=group) as opened:
            if opened.nbytes > os.stat(path).st_size:  # sizes are claims until the entries are read
                raise ValueError(f"it tells of {opened.nbytes:,} bytes, more than the file has")
            found = opened.load()
        stated = str(found.attrs.get("format"))
        if stated != form and stated.rsplit(" ", 1)[0] == form.rsplit(" ", 1)[0]:
            raise CorruptFileError(
                f"{path} has the format {stated!r}, this netfold reads {form!r}; read it with the version that wrote it"
            )
        if stated != form:
            raise KeyError(f"its format is {stated!r}, not {form!r}")
        return build(found)
    except CorruptFileError:
        raise
    except Exception as error:
        raise CorruptFileError(
            f"{path} cannot be read as a saved {what} ({type(error).__name__}: {error}); it is damaged or was "
            "written by something else: save it again"
        ) from error


def _umask() -> int:
    # The only way to read it is to set it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
