# SPDX-License-Identifier: MIT
"""Exceptions: one class a status, in the groups of moviegen.h."""
import errno
from typing import Dict, Optional, Type

# Numbers of moviegen.h, which never change; _abi.py compares them with the library's.
STATUS: Dict[str, int] = {
    "MGEN_OK": 0,
    "MGEN_E_INVALID": -10, "MGEN_E_STATE": -11, "MGEN_E_UNSUPPORTED": -12, "MGEN_E_VERSION": -13,
    "MGEN_E_NO_MEMORY": -20, "MGEN_E_LIMIT": -21,
    "MGEN_E_NOT_FOUND": -30, "MGEN_E_IO": -31, "MGEN_E_CORRUPT": -32, "MGEN_E_NO_SPACE": -33,
    "MGEN_E_DEVICE": -40, "MGEN_E_DEVICE_LOST": -41, "MGEN_E_NUMERIC": -42,
    "MGEN_E_PEER_LOST": -50, "MGEN_E_TIMEOUT": -51, "MGEN_E_DESYNC": -52,
    "MGEN_E_CANCELLED": -60, "MGEN_E_AGAIN": -61, "MGEN_E_INTERNAL": -90,
}


class Error(Exception):
    """What the library reports. str() is its sentence: what, where, and what to do."""

    STATUS = "MGEN_E_INTERNAL"
    ERRNO: Optional[int] = None

    def __init__(self, message: str, status: Optional[int] = None) -> None:
        super().__init__(message)
        #: the mgen_status
        self.status: int = STATUS[self.STATUS] if status is None else status
        if self.ERRNO is not None:
            setattr(self, "errno", self.ERRNO)

    @property
    def name(self) -> str:
        """The status by name, such as "MGEN_E_INVALID"."""
        return next((name for name, value in STATUS.items() if value == self.status), f"status {self.status}")

    @property
    def object_failed(self) -> bool:
        """Whether the object can only be closed now; else it is as usable as before."""
        return self.status in (STATUS["MGEN_E_DEVICE_LOST"], STATUS["MGEN_E_PEER_LOST"], STATUS["MGEN_E_DESYNC"])


class UsageError(Error, ValueError):
    """The caller's mistake; nothing changed."""


class InvalidError(UsageError):
    """An argument is out of range or malformed."""
    STATUS = "MGEN_E_INVALID"


class StateError(UsageError):
    """Not now: the object is busy, closed, failed, or lacks a part."""
    STATUS = "MGEN_E_STATE"


class UnsupportedError(UsageError):
    """Legal, but not by this build, machine or model."""
    STATUS = "MGEN_E_UNSUPPORTED"


class VersionError(UsageError):
    """A file or struct is newer than the library."""
    STATUS = "MGEN_E_VERSION"


class ResourceError(Error, MemoryError):
    """Memory or a limit."""


class NoMemoryError(ResourceError):
    """The system gave no memory."""
    STATUS = "MGEN_E_NO_MEMORY"


class LimitError(ResourceError):
    """Would pass a limit that the context set."""
    STATUS = "MGEN_E_LIMIT"


class FileError(Error, OSError):
    """Files."""


class NotFoundError(FileError, FileNotFoundError):
    """No such file or folder."""
    STATUS = "MGEN_E_NOT_FOUND"
    ERRNO = errno.ENOENT


class ReadWriteError(FileError):
    """The system reported an error while reading or writing."""
    STATUS = "MGEN_E_IO"
    ERRNO = errno.EIO


class CorruptError(FileError):
    """A file breaks the rules of its format."""
    STATUS = "MGEN_E_CORRUPT"


class NoSpaceError(FileError):
    """The disk is full."""
    STATUS = "MGEN_E_NO_SPACE"
    ERRNO = errno.ENOSPC


class DeviceError(Error):
    """A device call failed; also the group of the two below."""
    STATUS = "MGEN_E_DEVICE"


class DeviceLostError(DeviceError):
    """The device is gone: close the context."""
    STATUS = "MGEN_E_DEVICE_LOST"


class NumericError(DeviceError, ArithmeticError):
    """Not-a-number or infinity where none may be."""
    STATUS = "MGEN_E_NUMERIC"


class PeerError(Error):
    """Other ranks."""


class PeerLostError(PeerError):
    """Another rank is gone."""
    STATUS = "MGEN_E_PEER_LOST"


class DesyncError(PeerError):
    """Ranks made different calls."""
    STATUS = "MGEN_E_DESYNC"


class TimedOutError(PeerError, TimeoutError):
    """The time given ran out; the work goes on."""
    STATUS = "MGEN_E_TIMEOUT"


class ControlError(Error):
    """An end that somebody asked for, or none yet."""


class CancelledError(ControlError):
    """A cancel, a stop or a callback asked to end."""
    STATUS = "MGEN_E_CANCELLED"


class AgainError(ControlError):
    """Not finished yet."""
    STATUS = "MGEN_E_AGAIN"


class InternalError(Error):
    """A bug in the library; please report the message."""
    STATUS = "MGEN_E_INTERNAL"


_CLASSES: Dict[int, Type[Error]] = {
    STATUS[kind.STATUS]: kind for kind in (
        InvalidError, StateError, UnsupportedError, VersionError, NoMemoryError, LimitError, NotFoundError,
        ReadWriteError, CorruptError, NoSpaceError, DeviceError, DeviceLostError, NumericError, PeerLostError,
        DesyncError, TimedOutError, CancelledError, AgainError, InternalError)}


def from_status(status: int, message: str) -> Error:
    """The exception for a status; one that this binding does not know is a plain Error."""
    return _CLASSES.get(status, Error)(message, status)
