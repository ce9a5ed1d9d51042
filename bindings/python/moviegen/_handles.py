# SPDX-License-Identifier: MIT
"""What keeps C objects right under Python: who may call now, who ends what, and exceptions through callbacks.

A context with its jobs and trainers counts as one object, used by one thread at a time: ContextCore.lock. Cores hold
the C pointers. The public objects hold cores, and a finalizer that ends the core, so that nothing here has __del__;
weakref.finalize also runs them all before the interpreter goes down, while callbacks can still be answered.
"""
import atexit
import collections
import contextlib
import os
import signal
import threading
import weakref
from ctypes import byref, c_void_p
from typing import Any, Callable, Deque, Iterator, List, Optional, Set, TypeVar

from . import errors
from ._abi import OK, lib

SLICE = 0.2  # seconds: signals are seen between two waits of this length

Self = TypeVar("Self", bound="Closing")
Thing = TypeVar("Thing")


class Call:
    """A call under way on this thread, for the callbacks that come out of it."""

    def __init__(self, core: "ContextCore") -> None:
        self.core = core
        self.error: Optional[BaseException] = None  # raised by a callback
        self.inside = False                         # a callback of the host is running
        self.interrupted = False                    # control-C came meanwhile


class _Here(threading.local):
    def __init__(self) -> None:
        self.calls: List[Call] = []
        self.within: List[Any] = []  # contexts (or None) whose callbacks are running on this thread
        self.on_progress: Optional[Callable[[int, int], Any]] = None  # of the evaluation under way


here = _Here()
_deferred: Deque["Core"] = collections.deque()


def answer(function: Callable[..., Any], *arguments: Any) -> int:
    """Run a callback of the host for a call that is under way on this thread. An exception, or control-C, ends
    the call and is raised from it."""
    if not here.calls:
        return 0
    call = here.calls[-1]
    here.within.append(call.core)
    try:
        call.inside = True
        if not call.interrupted:
            function(*arguments)
    except BaseException as error:  # pylint: disable=broad-except
        call.error = error
    finally:
        call.inside = False
        here.within.pop()
    return int(call.interrupted or call.error is not None)


@contextlib.contextmanager
def interruptible(call: Call) -> Iterator[None]:
    """Python raises KeyboardInterrupt as soon as it runs in the main thread again: when a callback has just been
    entered, where ctypes would print and forget it. So it is kept for answer() meanwhile."""
    def interrupt(number: int, frame: Any) -> None:
        call.interrupted = True
        if call.inside:
            raise KeyboardInterrupt

    if (threading.current_thread() is not threading.main_thread() or
            signal.getsignal(signal.SIGINT) is not signal.default_int_handler):
        yield
        return
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if call.interrupted and call.error is None:
        raise KeyboardInterrupt


def waited_for(call: Callable[[], int], give_up: Callable[[], Any]) -> int:
    """What a C call without callbacks answers. Python runs handlers of signals in the main thread, between its own steps:
    there the call is made by another thread. `give_up` makes it return where a handler raises."""
    if threading.current_thread() is not threading.main_thread():
        return call()
    answers: List[int] = []
    first, done = threading.Lock(), threading.Event()

    def run() -> None:
        if first.acquire(blocking=False):
            answers.append(call())
            done.set()

    try:
        threading.Thread(target=run, daemon=True).start()
        done.wait()
    except BaseException:
        if not first.acquire(blocking=False):  # the call is under way
            give_up()
            while not done.is_set():
                with contextlib.suppress(BaseException):  # the C object is in use until then
                    done.wait()
        raise
    return answers[0]


class Core:
    """A C object and its end, which comes once."""

    def __init__(self, pointer: Any, kind: str) -> None:
        self.pointer: Any = pointer
        self.kind = kind
        self.mutex = threading.Lock()  # held for moments, around calls that any thread may make
        self.process = os.getpid()

    def take(self) -> Any:
        """The pointer, for its end; None if that was before, or in the process that this one was forked from,
        which has the threads."""
        with self.mutex:
            pointer, self.pointer = self.pointer, None
        return pointer if self.process == os.getpid() else None

    def live(self) -> Any:
        if self.pointer is None:
            raise errors.StateError(f"this {self.kind} was closed")
        if self.kind == "job" and self.process != os.getpid():
            raise errors.StateError("this job runs in the process that this one was forked from; wait for it there")
        return self.pointer

    def touch(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """A call that any thread may make and that returns at once."""
        with self.mutex:
            return function(self.live(), *arguments)

    def end(self) -> None:
        """End without waiting for a turn; the finalizers do."""
        raise NotImplementedError

    def close(self) -> None:
        """End in turn."""
        self.end()


def given(thing: Thing, kind: str, what: str) -> Thing:
    """An object of the host that must be one of this kind: C would take a pointer of any other for it."""
    core = getattr(thing, "_core", None)
    if not isinstance(core, Core) or core.kind != kind:
        raise TypeError(f"{what}: a {kind} of moviegen is wanted, not {type(thing).__name__}")
    return thing


class ContextCore(Core):
    """A context, and whose turn it is on it."""

    def __init__(self, pointer: Any) -> None:
        super().__init__(pointer, "context")
        self.lock = threading.Lock()
        self.whole = threading.RLock()  # taken before lock; held from a request's start to the taking of what it made
        self.children: Set["ChildCore"] = set()
        self.running: Optional["ChildCore"] = None  # the job that has not been seen to end
        self.mesh: Any = None  # of ranks; ends with the context

    @contextlib.contextmanager
    def turn(self, job: Optional["ChildCore"] = None) -> Iterator[Call]:
        self._refuse()
        with self.whole, self.lock:
            self.live()
            if self.running is not None and self.running is not job:
                raise errors.StateError("a job is running on this context: wait for it, or close it, first")
            call = Call(self)
            here.calls.append(call)
            try:
                yield call
            finally:
                here.calls.pop()
        if _deferred and not here.within:
            end_deferred()

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """One turn for all calls of a request that its caller waits for."""
        self._refuse()
        with self.whole:
            yield

    def _refuse(self) -> None:
        self.refuse_callback()
        if self.running is not None and self.process != os.getpid():  # whoever holds the locks is not here
            raise errors.StateError("a job runs on this context in the process that this one was forked from; make "
                                    "another context here")

    def refuse_callback(self) -> None:
        if any(core is self for core in here.within):
            raise errors.StateError("a callback cannot use the context that it comes from; use another context")

    def failure(self, status: int, call: Optional[Call] = None) -> BaseException:
        """The exception for a status; in turn."""
        if call is not None and call.error is not None:
            return call.error
        text = lib.mgen_last_error(self.pointer).decode("utf-8", "replace")
        return errors.from_status(status, text or lib.mgen_status_name(status).decode())

    def call(self, function: Callable[..., int], *arguments: Any) -> None:
        """A call on the context, its first argument."""
        with self.turn() as call:
            status = function(self.pointer, *arguments)
            if status != OK:
                raise self.failure(status, call)

    def call_long(self, function: Callable[..., int], *arguments: Any) -> None:
        """The same for calls with callbacks, through which control-C ends them."""
        with self.turn() as call, interruptible(call):
            status = function(self.pointer, *arguments)
            if status != OK and not (call.interrupted and call.error is None):
                raise self.failure(status, call)

    def make(self, end: Callable[[Any], None], function: Callable[..., int], *arguments: Any) -> Any:
        """A long call whose last argument receives a handle, the result."""
        out = c_void_p()
        try:
            self.call_long(function, *arguments, byref(out))
        except BaseException:
            if out.value:  # control-C came after the work was done
                end(out)
            raise
        return out.value

    def end(self) -> None:
        if here.within or not self.lock.acquire(blocking=False):
            _deferred.append(self)
            return
        try:
            self._end_in_turn()
        finally:
            self.lock.release()

    def close(self) -> None:
        self.refuse_callback()
        with self.lock:
            self._end_in_turn()

    def _end_in_turn(self) -> None:
        for child in list(self.children):
            child.end_in_turn()
        pointer = self.take()
        if pointer:
            lib.mgen_mesh_destroy(self.mesh)
            self.mesh = None
            lib.mgen_context_destroy(pointer)


class ChildCore(Core):
    """A job or a trainer: ends before its context."""

    def __init__(self, context: ContextCore, pointer: Any, kind: str, destroy: Callable[[Any], None],
                 ended: Callable[[], Any]) -> None:
        super().__init__(pointer, kind)
        self.context, self._destroy, self._ended = context, destroy, ended
        self._kept: Any = None  # what its thread may use until it is gone
        context.children.add(self)

    def call(self, function: Callable[..., int], *arguments: Any) -> None:
        with self.context.turn(self) as call:
            status = function(self.live(), *arguments)
            if status != OK:
                raise self.context.failure(status, call)

    def call_long(self, function: Callable[..., int], *arguments: Any) -> None:
        with self.context.turn(self) as call, interruptible(call):
            status = function(self.live(), *arguments)
            if status != OK and not (call.interrupted and call.error is None):
                raise self.context.failure(status, call)

    def end_in_turn(self) -> None:
        pointer = self.take()
        self.context.children.discard(self)
        try:
            if pointer:
                self._kept = self._ended()
                self._destroy(pointer)
                self._kept = None
        finally:
            if self.context.running is self:
                self.context.running = None

    def end(self) -> None:
        # A job's own thread cannot wait for itself, and a turn that this very thread has cannot be waited for.
        if here.within or not self.context.lock.acquire(blocking=False):
            _deferred.append(self)
            return
        try:
            self.end_in_turn()
        finally:
            self.context.lock.release()

    def close(self) -> None:
        self.context.refuse_callback()
        with self.context.lock:
            self.end_in_turn()


class SharedCore(Core):
    """A handle that counts its owners: a network or a dataset. Any thread may hold it."""

    def __init__(self, pointer: Any, kind: str, retain: Callable[[Any], Any], release: Callable[[Any], None]) -> None:
        super().__init__(pointer, kind)
        self._retain, self._release = retain, release

    @contextlib.contextmanager
    def hold(self) -> Iterator[Any]:
        """The pointer, valid until the end of the block even if the owner closes."""
        pointer = self.touch(self._retain)
        try:
            yield pointer
        finally:
            self._release(pointer)

    def end(self) -> None:
        pointer = self.take()
        if pointer:
            self._release(pointer)


class FreedCore(Core):
    """A clip: freed by whoever is last to look at it."""

    def __init__(self, pointer: Any, kind: str, free: Callable[[Any], None]) -> None:
        super().__init__(pointer, kind)
        self._free = free

    def end(self) -> None:
        pointer = self.take()
        if pointer:
            self._free(pointer)


def end_deferred() -> None:
    """End what could not be ended when its finalizer ran."""
    for _ in range(len(_deferred)):
        try:
            core = _deferred.popleft()
        except IndexError:  # another thread was faster
            return
        core.end()


class Closing:
    """A public object with an end: close(), `with`, or nobody left who knows it."""

    _core: Core

    def _own(self, core: Core) -> None:
        self._core = core
        weakref.finalize(self, core.end)

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._core.pointer is None

    def close(self) -> None:
        """End it now. Calling it again is harmless."""
        self._core.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Two objects would end one thing of the library; another process has none of it."""
        raise TypeError(f"a {type(self).__name__} of moviegen cannot be copied or pickled; make another, or copy what it holds")


atexit.register(end_deferred)
