# SPDX-License-Identifier: MIT
"""The context: device, threads, memory, callbacks."""
import ctypes
import itertools
import os
from ctypes import byref, c_uint64, c_void_p
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Union

from . import errors
from ._abi import EXCHANGE, LOG, OK, PROGRESS, ContextParams, MeshParams, callback, checked, lib, real
from ._buffers import function_of, text_of
from ._handles import Closing, ContextCore, FreedCore, answer, given, here, interruptible, waited_for

Path = Union[str, "os.PathLike[str]"]
LogCallback = Callable[[int, str], Any]
ProgressCallback = Callable[[str, int, int], Any]
Exchange = Callable[[bytes], Sequence[bytes]]

_ERROR_SIZE = 1024


class Memory(NamedTuple):
    """Host bytes held by a context and all made from it."""
    now: int
    peak: int


class _Callbacks:
    def __init__(self, log: Optional[LogCallback], progress: Optional[ProgressCallback]) -> None:
        self.log, self.progress = log, progress
        self.core: Optional[ContextCore] = None


# By a number, which C carries: no Python object has to outlive its last use by C.
_callbacks: Dict[int, _Callbacks] = {}
_keys = itertools.count(1)


@callback(LOG)
def _on_log(user: int, level: int, text: bytes) -> None:
    found = _callbacks.get(user)
    if found is not None and found.log is not None:
        here.within.append(found.core)
        try:
            found.log(level, text.decode("utf-8", "replace"))
        finally:
            here.within.pop()


@callback(PROGRESS)
def _on_progress(user: int, what: bytes, done: int, total: int) -> int:
    found = _callbacks.get(user)
    function = found.progress if found is not None and found.progress is not None else _nothing
    return answer(function, what.decode("utf-8", "replace"), done, total)


def _nothing(*arguments: Any) -> None:
    pass


def _exchange_by(exchange: Exchange, size: int) -> Any:
    def fill(mine: int, everyone: int, count: int) -> None:
        joined = b"".join(exchange(ctypes.string_at(mine, count)))
        if len(joined) != size * count:
            raise errors.InvalidError(f"exchange gave {len(joined)} bytes; {size} ranks gave {count} each")
        ctypes.memmove(everyone, joined, len(joined))
    return callback(EXCHANGE)(lambda _, mine, everyone, count: answer(fill, mine, everyone, count))


class _Core(ContextCore):
    def __init__(self, pointer: Any, key: int) -> None:
        super().__init__(pointer)
        self._key = key

    def _end_in_turn(self) -> None:
        super()._end_in_turn()
        _callbacks.pop(self._key, None)


class Ranks(Closing):
    """Where `size` threads meet as ranks, each with a context that joins: context.join(ranks=ranks, rank=i). timeout:
    seconds that calls wait for ranks that are late; None = no limit."""

    _core: FreedCore

    def __init__(self, context: "Context", size: int, *, timeout: Optional[float] = 600.0) -> None:
        handle = core_of(context).make(lib.mgen_ranks_destroy, lib.mgen_ranks_create, checked(size, 2**32 - 1, "size"),
                                       _milliseconds(timeout))
        self._own(FreedCore(handle, "ranks", lib.mgen_ranks_destroy))


class Context(Closing):
    """Where calls happen. One thread at a time uses a context; others wait for their turn. A Job or Stream has it until its end.

    threads: compute threads, 0 = one a processor. host_memory_max, device_memory_max: bytes, 0 = no limit.
    log(level, text) gets lines (levels LOG_ERROR..LOG_DEBUG), from any thread. progress(what, done, total) is called
    by calls that take long; an exception that it raises, or control-C, ends them. device: "cpu" or None, the best that
    there is. cache_dir: folder of encoded training clips and of what autotune chose. plugin_dir: folder of the FFmpeg
    plug-in. kernels: variants allowed, for tests. autotune: on GPUs, time some ways to do each shape of product and take
    the fastest; results may then round differently from run to run, unless cache_dir keeps what was chosen.

    close() also ends the jobs and trainers made from it; models and clips live on.
    """

    _core: ContextCore

    def __init__(self, *, threads: int = 0, host_memory_max: int = 0, device_memory_max: int = 0,
                 log: Optional[LogCallback] = None, progress: Optional[ProgressCallback] = None,
                 device: Optional[str] = None, cache_dir: Optional[Path] = None, plugin_dir: Optional[Path] = None,
                 kernels: Optional[str] = None, autotune: bool = False) -> None:
        for name, function in (("log", log), ("progress", progress)):
            function_of(function, name)
        key = next(_keys)
        text = ctypes.create_string_buffer(_ERROR_SIZE)
        params = ContextParams(threads=threads, host_memory_max=host_memory_max, device_memory_max=device_memory_max,
                               progress=_on_progress, progress_user=key, device=text_of(device, "device"),
                               cache_dir=path_of(cache_dir), plugin_dir=path_of(plugin_dir),
                               kernels=text_of(kernels, "kernels"), error_size=_ERROR_SIZE, autotune=int(autotune))
        params.error_text = ctypes.cast(text, ctypes.c_char_p)
        if log is not None:
            params.log, params.log_user = _on_log, key
        _callbacks[key] = _Callbacks(log, progress)
        out = c_void_p()
        status = lib.mgen_context_create(byref(params), byref(out))
        if status != OK:
            del _callbacks[key]
            raise errors.from_status(status, text.value.decode("utf-8", "replace") or
                                     f"the context could not be created: {lib.mgen_status_name(status).decode()}")
        core = _callbacks[key].core = _Core(out.value, key)
        self._own(core)

    def join(self, axes: Optional[str] = None, *, ranks: Optional[Ranks] = None, rank: int = 0, size: int = 0,
             meet: Optional[str] = None, exchange: Optional[Exchange] = None, run: Optional[str] = None,
             timeout: Optional[float] = 600.0, by_host: bool = False) -> None:
        """Become a rank, until the end of the context: thread `rank` of `ranks`; or process `rank` of `size`, which find
        each other at the address `meet`, "tcp://host:port" (rank 0 listens there) or "file:///path", or by `exchange`,
        given the bytes of this rank and answering with those of all in order; or, without these, of the processes of an
        mpirun. From then on trainers of this context train together with those of the other ranks, which make the same
        calls. Control-C ends the wait for processes that meet. axes: how ranks are divided, such as "dp=2,tp=2"; None = all of them over dp. run: its name, the same on
        all ranks that meet. by_host: GPUs exchange by way of the host's memory instead of by NCCL."""
        params = MeshParams(rank=rank, axes=text_of(axes, "axes"), timeout_ms=_milliseconds(timeout),
                            by_host=int(by_host), meet=text_of(meet, "meet"), run=text_of(run, "run"), size=size)
        function_of(exchange, "exchange")
        if exchange is not None:
            params.exchange = _exchange_by(exchange, size)
        out = c_void_p()
        with self._core.turn() as call, interruptible(call):
            if self._core.mesh:
                raise errors.StateError("this context is a rank already")
            if ranks is not None:
                with given(ranks, "ranks", "ranks")._core.mutex:
                    params.ranks = ranks._core.live()
            status = lib.mgen_mesh_create(self._core.pointer, byref(params), byref(out))
            if status != OK and not (call.interrupted and call.error is None):
                raise self._core.failure(status, call)
            self._core.mesh = out.value

    @property
    def rank(self) -> int:
        """Which rank this is; 0 where there is one."""
        return lib.mgen_mesh_rank(self._core.mesh)  # type: ignore[no-any-return]

    @property
    def ranks(self) -> int:
        """Ranks in all; 1 without join()."""
        return lib.mgen_mesh_size(self._core.mesh)  # type: ignore[no-any-return]

    def barrier(self) -> None:
        """Wait for all ranks. Control-C, or what another signal's handler raises, ends the wait as abort() does: other ranks
        are told, and nothing is left to do with the context but to close it."""
        with self._core.turn() as call:
            mesh = self._core.mesh
            status = waited_for(lambda: lib.mgen_mesh_barrier(mesh), lambda: lib.mgen_mesh_abort(mesh)) if mesh else OK
            if status != OK:
                raise self._core.failure(status, call)

    def abort(self) -> None:
        """End it all: calls of every rank raise PeerLostError, those under way too. Any thread."""
        self._core.touch(lambda _: lib.mgen_mesh_abort(self._core.mesh))

    def memory(self) -> Memory:
        """Host bytes now and at most so far. Any thread."""
        now, peak = c_uint64(), c_uint64()
        self._core.touch(lib.mgen_context_memory, byref(now), byref(peak))
        return Memory(now.value, peak.value)

    def trim(self) -> None:
        """Give memory that is kept for the next request back."""
        with self._core.turn():
            lib.mgen_context_trim(self._core.pointer)

    @property
    def kernels(self) -> str:
        """One line an op: the kernel variant in use."""
        with self._core.turn():
            return lib.mgen_context_kernels(self._core.pointer).decode()  # type: ignore[no-any-return]

    @property
    def last_error(self) -> str:
        """The sentence of the last call that failed, or ""."""
        with self._core.turn():
            return lib.mgen_last_error(self._core.pointer).decode("utf-8", "replace")  # type: ignore[no-any-return]


def _milliseconds(timeout: Optional[float]) -> int:
    if timeout is None:
        return -1
    if not 0 < real(timeout, "timeout") <= 1e9:
        raise errors.InvalidError(f"timeout is {timeout}; it must be more than 0 seconds, or None")
    return max(1, round(timeout * 1000))


def core_of(context: Context) -> ContextCore:
    """That of a context which a host gives first; TypeError says so of anything else."""
    return given(context, "context", "context")._core


def path_of(path: Optional[Path]) -> Optional[bytes]:
    """A path for a C string."""
    if path is None:
        return None
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise errors.InvalidError(f"the path {path!r} holds a NUL character")
    return encoded
