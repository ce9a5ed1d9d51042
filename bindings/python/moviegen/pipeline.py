# SPDX-License-Identifier: MIT
"""From prompt to frames: the pipeline, and the job that a request is."""
import functools
import time
from contextlib import ExitStack, contextmanager
from ctypes import byref, c_void_p, create_string_buffer
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple, Type, TypeVar, Union, cast, overload

from . import _abi, errors
from ._abi import AGAIN, OK, TIMEOUT, GenerateParams, SoundParams, checked, lib, real
from ._buffers import (EXTENSIONS, FORMATS, PRECISIONS, SCHEDULES, SOLVERS, TASKS, Buffer, FrameViews, frames_in, number_of,
                       text_of)
from ._handles import SLICE, ChildCore, Closing, given
from ._jobs import OnFrames, Preview, Progress, Relay, Slot
from ._places import default_model
from ._progress import Bar, stderr_is_terminal
from .clip import Clip, wrap
from .context import Context, Path, core_of, path_of
from .models import (ROLES, AudioModel, Editor, Part, Personalizer, Rewriter, Roles, Tae, TextEncoder, Upsampler, VideoModel,
                     adopt, hold_all, roles_of)
from .sound import Sound
from .sound import wrap as wrap_sound

Into = Union[Buffer, Sequence[Buffer]]
_REWRITTEN = 4097  # bytes that are always enough

_KINDS: Tuple[Type[Part], ...] = (Tae, *[TextEncoder] * len(ROLES), VideoModel, Upsampler, Editor, AudioModel,
                                  Personalizer, Rewriter)


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _in_one_turn(method: _Method) -> _Method:
    """Of a pipeline: starts a job, waits for it and takes what it made, while other threads wait for their turn."""
    @functools.wraps(method)
    def waits(self: "Pipeline", *arguments: Any, **named: Any) -> Any:
        with core_of(self.context).request():
            return method(self, *arguments, **named)
    return cast(_Method, waits)


class Estimate(NamedTuple):
    """What a request needs."""
    width: int
    height: int
    frames: int
    host_bytes: int
    device_bytes: int
    flops: float


class JobInfo(NamedTuple):
    """How far a job is."""
    done: int
    total: int
    width: int
    height: int
    frames: int
    frames_done: int
    host_bytes: int


class Job(Closing):
    """One request under way, made by Pipeline.start(). Until wait() or poll() has told its end, its context takes no
    other calls."""

    _core: ChildCore

    def __init__(self, context: Context, pointer: Any, relay: Relay, ended: Callable[[], Any]) -> None:
        self._context, self._relay = context, relay
        core = ChildCore(context._core, pointer, "job", lib.mgen_job_destroy, ended)
        context._core.running = core
        self._own(core)

    def wait(self, timeout: Optional[float] = None) -> None:
        """Wait for the end, at most `timeout` seconds (then TimedOutError, and the job goes on). Raises what ended the
        job, an exception of a callback included. Control-C cancels the job, waits for it, and is raised."""
        if timeout is not None and real(timeout, "timeout") != timeout:
            raise errors.InvalidError("timeout is not a number")
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._wait_slice(deadline):
                if deadline is not None and time.monotonic() >= deadline:
                    raise errors.TimedOutError(f"the job was not done within {timeout} seconds; it goes on")
        except KeyboardInterrupt:
            self._cancel_and_wait()
            raise

    def _wait_slice(self, deadline: Optional[float]) -> bool:
        left = SLICE if deadline is None else min(SLICE, max(0.0, deadline - time.monotonic()))
        return self._ask(TIMEOUT, lib.mgen_job_wait, round(left * 1000))

    def poll(self) -> bool:
        """Whether it has ended. Raises as wait()."""
        return self._ask(AGAIN, lib.mgen_job_poll)

    def _ask(self, running: int, function: Callable[..., int], *arguments: Any) -> bool:
        core = self._core
        with core.context.turn(core):
            status = function(core.live(), *arguments)
            if status == running:
                return False
            if core.context.running is core:
                core.context.running = None
            if status != OK:
                raise self._relay.error or core.context.failure(status)
        return True

    def _cancel_and_wait(self) -> None:
        while True:
            try:
                self.cancel()
                while not self._wait_slice(None):
                    pass
                return
            except KeyboardInterrupt:
                continue
            except Exception:  # pylint: disable=broad-except
                return

    def cancel(self) -> None:
        """Ask it to stop; wait() tells when it has. Any thread."""
        self._core.touch(lib.mgen_job_cancel)

    @property
    def info(self) -> JobInfo:
        """How far it is. Any thread."""
        info = _abi.JobInfo()
        self._core.touch(lib.mgen_job_get_info, byref(info))
        return JobInfo(*(getattr(info, name) for name in JobInfo._fields))

    def clip(self) -> Clip:
        """Take the finished clip; once, after wait()."""
        return wrap(self._context, self._take(lib.mgen_job_take_clip))

    def sound(self) -> Sound:
        """Take the finished sound of a job of start_sound(); once, after wait()."""
        return wrap_sound(self._context, self._take(lib.mgen_job_take_sound))

    def _take(self, function: Callable[..., int]) -> Any:
        if self._core.context.running is self._core:  # the library leaves the message to the job's thread
            raise errors.StateError("the job was not waited for; wait first, then take what it made")
        out = c_void_p()
        self._core.call(function, byref(out))
        return out.value

    def close(self) -> None:
        """Cancel it if it runs, wait, free. Calling it again is harmless."""
        self._core.close()


class Stream(Iterator[Tuple[int, FrameViews]]):
    """Pieces (first, frames) of a film as they are decoded; made by Pipeline.stream(). Leaving the loop early and
    close() cancel the job."""

    def __init__(self, job: Job, slot: Slot, bar: Optional[Bar]) -> None:
        self._job, self._slot, self._bar = job, slot, bar
        self._delivered = 0
        self.frames = job.info.frames

    def __next__(self) -> Tuple[int, FrameViews]:
        if self._job.closed:
            raise StopIteration
        try:
            while self._delivered < self.frames:
                piece = self._slot.take(SLICE)
                if piece is not None:
                    views = piece[1]
                    self._delivered += len(views[0] if isinstance(views, tuple) else views)
                    return piece
                self._job.poll()
            self._job.wait()
        except BaseException:
            self.close()
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """End it now. Calling it again is harmless."""
        self._job.close()
        if self._bar is not None:
            self._bar.finish()

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()


class Pipeline(Closing):
    """A tae, up to three text encoders, a video model, an upsampler, an editor, an audio model, a personalizer, a rewriter,
    and the clip that they were trained on.

    Pipeline(context, "folder") loads a model folder, whose networks close() closes too, and holds and runs them in
    `precision`: "f32", "bf16", "fp8", or "default", which the video model's file says; without a folder that which the
    environment variable MOVIEGEN_MODEL names, or else toybox_model(). Pipeline.of() is put together
    from networks of any context, which it leaves alone. Where the context is one of several ranks (Context.join), all of
    them open the folder and make each request together, and rank 0 gets the clip; clips and photos to begin with may be
    None on the others.

    What requests have in common: seed; steps (0 = 50); width, height, frames (0 = as trained; 1 frame = a picture);
    guidance (0 = the model's; 1 = off), at times from guidance_from to guidance_to (0 = 1); schedule "linear_quadratic",
    "linear" or "linear_quadratic_1000"; solver "euler", "midpoint" or "dopri5", whose steps are the attempts that it
    may make, and whose progress is a share of them; negative_prompt; drop_text, roles of ROLES whose text is left out;
    noise_scale, the deviation of the noise that the flow begins with (0 = the model's).
    Callbacks come from the job's thread and end the job by raising: progress(done, total), or True for a bar on stderr if
    that is a terminal; preview(step, latents), what the clip would be if the flow went straight on: decode it on another
    context.
    """

    tae: Optional[Tae]
    text: Tuple[Optional[TextEncoder], ...]
    video: Optional[VideoModel]
    upsampler: Optional[Upsampler]
    editor: Optional[Editor]
    audio: Optional[AudioModel]
    personalizer: Optional[Personalizer]
    rewriter: Optional[Rewriter]

    def __init__(self, context: Context, directory: Optional[Path] = None, *, precision: str = "default") -> None:
        pipe = _abi.Pipeline(mesh=core_of(context).mesh, precision=number_of(PRECISIONS, precision, "precision"))
        try:
            core_of(context).call_long(lib.mgen_pipeline_open,
                                       path_of(default_model() if directory is None else directory), byref(pipe))
        except BaseException:
            lib.mgen_pipeline_close(byref(pipe))
            raise
        self._set(context, adopt(Tae, context, pipe.tae) if pipe.tae else None,
                  [adopt(TextEncoder, context, handle) if handle else None for handle in pipe.text],
                  adopt(VideoModel, context, pipe.video) if pipe.video else None,
                  adopt(Upsampler, context, pipe.upsampler) if pipe.upsampler else None,
                  adopt(Editor, context, pipe.editor) if pipe.editor else None,
                  adopt(AudioModel, context, pipe.audio) if pipe.audio else None,
                  adopt(Personalizer, context, pipe.personalizer) if pipe.personalizer else None,
                  adopt(Rewriter, context, pipe.rewriter) if pipe.rewriter else None,
                  pipe.width, pipe.height, pipe.frames, pipe.fps, True)
        self._mesh = pipe.mesh

    @classmethod
    def of(cls, context: Context, *, tae: Optional[Tae] = None, text: Sequence[Optional[TextEncoder]] = (),
           video: Optional[VideoModel] = None, upsampler: Optional[Upsampler] = None, editor: Optional[Editor] = None,
           audio: Optional[AudioModel] = None, personalizer: Optional[Personalizer] = None,
           rewriter: Optional[Rewriter] = None, width: int, height: int, frames: int, fps: int = 16) -> "Pipeline":
        """Put together from networks; `text` in the order of ROLES."""
        if len(text) > len(ROLES):
            raise errors.InvalidError(f"text: {len(text)} encoders; there are {len(ROLES)} roles")
        core_of(context)  # or say what else it is
        self = cls.__new__(cls)
        self._set(context, tae, text, video, upsampler, editor, audio, personalizer, rewriter, width, height, frames, fps, False)
        self._parts()
        return self

    def _set(self, context: Context, tae: Optional[Tae], text: Sequence[Optional[TextEncoder]],
             video: Optional[VideoModel], upsampler: Optional[Upsampler], editor: Optional[Editor],
             audio: Optional[AudioModel], personalizer: Optional[Personalizer], rewriter: Optional[Rewriter],
             width: int, height: int, frames: int, fps: int, owns: bool) -> None:
        self.context, self.tae, self.video, self.upsampler, self.editor = context, tae, video, upsampler, editor
        self.audio, self.personalizer, self.rewriter = audio, personalizer, rewriter
        self.text = tuple(text) + (None,) * (len(ROLES) - len(text))
        self.width, self.height, self.frames, self.fps = width, height, frames, fps
        self._owns, self._closed, self._mesh = owns, False, None

    def _parts(self) -> Tuple[Optional[Part], ...]:
        """In the order of the C struct, each of the kind that belongs there."""
        parts = (self.tae, *self.text, self.video, self.upsampler, self.editor, self.audio, self.personalizer,
                 self.rewriter)
        for part, kind in zip(parts, _KINDS):
            if part is not None and not isinstance(part, kind):
                raise TypeError(f"a pipeline: {kind.__name__} is wanted, not {type(part).__name__}")
        return parts

    @property
    def closed(self) -> bool:
        """Whether close() was called."""
        return self._closed

    def close(self) -> None:
        """Close the networks that it loaded. A running job keeps them. Calling it again is harmless."""
        self._closed = True
        if self._owns:
            for part in self._parts():
                if part is not None:
                    part.close()

    @contextmanager
    def _held(self) -> Iterator[Any]:
        """The C struct, valid in the block."""
        if self._closed:
            raise errors.StateError("this pipeline was closed")
        with ExitStack() as stack:
            tae, *text, video, upsampler, editor, audio, personalizer, rewriter = hold_all(stack, self._parts())
            pipe = _abi.Pipeline(width=self.width, height=self.height, frames=self.frames, fps=self.fps, tae=tae,
                                 video=video, mesh=self._mesh, upsampler=upsampler, editor=editor, audio=audio,
                                 personalizer=personalizer, rewriter=rewriter)
            for i, handle in enumerate(text):
                pipe.text[i] = handle
            yield byref(pipe)

    @property
    def hash(self) -> int:
        """64-bit identity of the weights, the same for the same files."""
        with self._held() as pipe:
            return lib.mgen_pipeline_hash(pipe)  # type: ignore[no-any-return]

    def rewrite(self, prompt: str) -> str:
        """A prompt as one types it, rewritten as the captions are that the models were trained on, for generate(); text to be
        drawn stands in quotation marks. The same prompt, the same answer; where the rewriter's cannot be used, the prompt."""
        out = create_string_buffer(_REWRITTEN)
        with self._held() as pipe:
            core_of(self.context).call_long(lib.mgen_rewrite, pipe, text_of(prompt, "prompt"), out, _REWRITTEN)
        return out.value.decode()

    def estimate(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                 width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
                 schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                 guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0, format: str = "rgb8") -> Estimate:
        """What a request needs, without starting it."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, frames, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        estimate = _abi.Estimate()
        with self._held() as pipe:
            core_of(self.context).call(lib.mgen_generate_estimate, pipe, byref(params), byref(estimate))
        return Estimate(*(getattr(estimate, name) for name in Estimate._fields))

    def start(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
              width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
              schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
              guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0, progress: Optional[Progress] = None,
              preview: Optional[Preview] = None, on_frames: Optional[OnFrames] = None, format: str = "rgb8",
              into: Optional[Into] = None) -> Job:
        """Start a request. on_frames(first, frames) gets a copy of frames as they are decoded, in `format` ("rgb8",
        "rgbf32" or "yuv420"); `into` is a buffer for the whole clip; with either, the job has no clip()."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, frames, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        return self._start(params, Relay(core_of(self.context), progress, preview, on_frames), into)

    def _start(self, params: GenerateParams, relay: Relay, into: Optional[Into] = None,
               ended: Callable[[], None] = lambda: None, source: Optional[Clip] = None,
               begin: Optional[Callable[..., int]] = None) -> Job:
        """`begin`: the call that makes a clip of `source`; None: a request without one."""
        def end() -> Any:
            kept = relay.end()
            ended()
            return kept

        out = c_void_p()
        try:
            relay.attach(params)
            if into is not None:
                relay.into(params, *frames_in(into, "into", writable=True))
            seen = _pointer(source, "clip", "clip")
            relay.keep.append(source)
            with self._held() as pipe:
                if begin is None:
                    core_of(self.context).call(lib.mgen_generate_start, pipe, byref(params), byref(out))
                else:
                    core_of(self.context).call(begin, pipe, seen, byref(params), byref(out))
        except BaseException:
            relay.end()
            raise
        return Job(self.context, out.value, relay, end)

    @overload
    def generate(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                 width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
                 schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                 guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                 progress: Union[bool, Progress] = False,
                 preview: Optional[Preview] = None, into: None = None) -> Clip: ...

    @overload
    def generate(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                 width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
                 schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                 guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                 progress: Union[bool, Progress] = False,
                 preview: Optional[Preview] = None, into: Into) -> None: ...

    @_in_one_turn
    def generate(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                 width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
                 schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                 guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                 progress: Union[bool, Progress] = False,
                 preview: Optional[Preview] = None, into: Optional[Into] = None) -> Optional[Clip]:
        """Generate and wait. The answer is the clip; None with `into`, a writable buffer of the clip's shape (frames,
        height, width, 3), bytes or float32, or three planes, which receives it."""
        report, bar = _reporter(progress, prompt)
        job = self.start(prompt, negative_prompt=negative_prompt, seed=seed, steps=steps, width=width, height=height,
                         frames=frames, guidance=guidance, schedule=schedule, solver=solver, guidance_from=guidance_from,
                         guidance_to=guidance_to, drop_text=drop_text, noise_scale=noise_scale, progress=report,
                         preview=preview, into=into)
        try:
            with job:
                job.wait()
                return job.clip() if into is None else None
        finally:
            if bar is not None:
                bar.finish()

    def stream(self, prompt: str, *, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
               width: int = 0, height: int = 0, frames: int = 0, guidance: float = 0.0,
               schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
               guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
               progress: Union[bool, Progress] = False,
               preview: Optional[Preview] = None, format: str = "rgb8") -> Stream:
        """for first, frames in pipeline.stream(prompt): the frames first, first + 1, ... as soon as they are decoded,
        a few at a time, so that a film of any length needs the memory of some frames only. `format`: "rgb8",
        "rgbf32": (count, height, width, 3); "yuv420": three planes."""
        report, bar = _reporter(progress, prompt)
        params = _params(prompt, negative_prompt, seed, steps, width, height, frames, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        slot = Slot()
        job = self._start(params, Relay(core_of(self.context), report, preview, slot.put), None, slot.abandon)
        return Stream(job, slot, bar)

    def estimate_upsample(self, clip: Optional[Clip], prompt: str = "", *, negative_prompt: Optional[str] = None, seed: int = 0,
                          steps: int = 0, width: int = 0, height: int = 0, guidance: float = 0.0,
                          schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                          guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                          format: str = "rgb8") -> Estimate:
        """What upsample() needs, without starting it."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, 0, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        return self._estimate_of(lib.mgen_upsample_estimate, clip, params)

    def _estimate_of(self, ask: Callable[..., int], clip: Optional[Clip], params: GenerateParams) -> Estimate:
        estimate = _abi.Estimate()
        seen = _pointer(clip, "clip", "clip")
        with self._held() as pipe:
            core_of(self.context).call(ask, pipe, seen, byref(params), byref(estimate))
        return Estimate(*(getattr(estimate, name) for name in Estimate._fields))

    def start_upsample(self, clip: Optional[Clip], prompt: str = "", *, negative_prompt: Optional[str] = None, seed: int = 0,
                       steps: int = 0, width: int = 0, height: int = 0, guidance: float = 0.0,
                       schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                       guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                       progress: Optional[Progress] = None,
                       preview: Optional[Preview] = None,
                       on_frames: Optional[OnFrames] = None, format: str = "rgb8", into: Optional[Into] = None) -> Job:
        """Start upsample(), with what start() has beside it. The job keeps the clip; leave its pixels alone meanwhile."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, 0, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        return self._start(params, Relay(core_of(self.context), progress, preview, on_frames), into, source=clip,
                           begin=lib.mgen_upsample_start)

    @_in_one_turn
    def upsample(self, clip: Optional[Clip], prompt: str = "", *, negative_prompt: Optional[str] = None, seed: int = 0,
                 steps: int = 0, width: int = 0, height: int = 0, guidance: float = 0.0,
                 schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                 guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                 progress: Union[bool, Progress] = False,
                 preview: Optional[Preview] = None) -> Clip:
        """Make a clip larger and wait: to `width` and `height`, 0 = as many times its own as the upsampler was trained
        for. `prompt` says what it shows, if anything does; 0 steps and 0 guidance are the upsampler's."""
        report, bar = _reporter(progress, prompt or "upsampling")
        job = self.start_upsample(clip, prompt, negative_prompt=negative_prompt, seed=seed, steps=steps, width=width,
                                  height=height, guidance=guidance, schedule=schedule, solver=solver,
                                  guidance_from=guidance_from, guidance_to=guidance_to, drop_text=drop_text,
                                  noise_scale=noise_scale,
                                  progress=report, preview=preview)
        return _clip_of(job, bar)

    def estimate_edit(self, clip: Optional[Clip], instruction: str, *, task: str = "auto", strength: float = 0.0,
                      source_guidance: float = 0.0, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                      width: int = 0, height: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic",
                      solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0,
                      drop_text: Roles = (), noise_scale: float = 0.0,
                      format: str = "rgb8") -> Estimate:
        """What edit() needs, without starting it."""
        params = _params(instruction, negative_prompt, seed, steps, width, height, 0, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        return self._estimate_of(lib.mgen_edit_estimate, clip, _edits(params, task, strength, source_guidance))

    def start_edit(self, clip: Optional[Clip], instruction: str, *, task: str = "auto", strength: float = 0.0,
                   source_guidance: float = 0.0, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
                   width: int = 0, height: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic",
                   solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0,
                   drop_text: Roles = (), noise_scale: float = 0.0,
                   progress: Optional[Progress] = None, preview: Optional[Preview] = None,
                   on_frames: Optional[OnFrames] = None, format: str = "rgb8", into: Optional[Into] = None) -> Job:
        """Start edit(), with what start() has beside it. The job keeps the clip; leave its pixels alone meanwhile."""
        params = _params(instruction, negative_prompt, seed, steps, width, height, 0, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        return self._start(_edits(params, task, strength, source_guidance),
                           Relay(core_of(self.context), progress, preview, on_frames), into, source=clip,
                           begin=lib.mgen_edit_start)

    @_in_one_turn
    def edit(self, clip: Optional[Clip], instruction: str, *, task: str = "auto", strength: float = 0.0,
             source_guidance: float = 0.0, negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0,
             width: int = 0, height: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic",
             solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0, drop_text: Roles = (),
             noise_scale: float = 0.0,
             progress: Union[bool, Progress] = False, preview: Optional[Preview] = None) -> Clip:
        """Edit a clip as an instruction says ("make the ball blue") and wait; width and height resize it first. `task`:
        what the instruction is about, "local", "style", "background", "removal", "addition", "texture" or
        "segmentation"; "auto" finds it by its words. 0 steps and guidances are the editor's; source_guidance is the one
        towards the clip. A strength between 0 and 1 edits without an editor, by the video model: the share of the steps
        that are taken, from the noised clip on; `instruction` then says what the result shows."""
        report, bar = _reporter(progress, instruction)
        job = self.start_edit(clip, instruction, task=task, strength=strength, source_guidance=source_guidance,
                              negative_prompt=negative_prompt, seed=seed, steps=steps, width=width, height=height,
                              guidance=guidance, schedule=schedule, solver=solver, guidance_from=guidance_from,
                              guidance_to=guidance_to, drop_text=drop_text, noise_scale=noise_scale, progress=report,
                              preview=preview)
        return _clip_of(job, bar)

    def estimate_personalize(self, photo: Optional[Clip], prompt: str, *, source_guidance: float = 0.0,
                             negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0, width: int = 0,
                             height: int = 0, frames: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic",
                             solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0,
                             drop_text: Roles = (), noise_scale: float = 0.0,
                             format: str = "rgb8") -> Estimate:
        """What personalize() needs, without starting it."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, frames, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        params.source_guidance = real(source_guidance, "source_guidance")
        return self._estimate_of(lib.mgen_personalize_estimate, photo, params)

    def start_personalize(self, photo: Optional[Clip], prompt: str, *, source_guidance: float = 0.0,
                          negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0, width: int = 0,
                          height: int = 0, frames: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic",
                          solver: str = "euler", guidance_from: float = 0.0, guidance_to: float = 0.0,
                          drop_text: Roles = (), noise_scale: float = 0.0,
                          progress: Optional[Progress] = None, preview: Optional[Preview] = None,
                          on_frames: Optional[OnFrames] = None, format: str = "rgb8", into: Optional[Into] = None) -> Job:
        """Start personalize(), with what start() has beside it. The job keeps the photo; leave its pixels alone meanwhile."""
        params = _params(prompt, negative_prompt, seed, steps, width, height, frames, guidance, schedule, format, solver,
                         guidance_from, guidance_to, drop_text, noise_scale)
        params.source_guidance = real(source_guidance, "source_guidance")
        return self._start(params, Relay(core_of(self.context), progress, preview, on_frames), into, source=photo,
                           begin=lib.mgen_personalize_start)

    @_in_one_turn
    def personalize(self, photo: Optional[Clip], prompt: str, *, source_guidance: float = 0.0,
                    negative_prompt: Optional[str] = None, seed: int = 0, steps: int = 0, width: int = 0, height: int = 0,
                    frames: int = 0, guidance: float = 0.0, schedule: str = "linear_quadratic", solver: str = "euler", guidance_from: float = 0.0,
                    guidance_to: float = 0.0, drop_text: Roles = (), noise_scale: float = 0.0,
                    progress: Union[bool, Progress] = False,
                    preview: Optional[Preview] = None) -> Clip:
        """Generate a clip of the person in a photo and wait: the first frame of `photo` is the face, best with all else grey
        (128), and `prompt` says what the person does. 0 steps and guidances are the personalizer's; source_guidance is the
        one towards the photo."""
        report, bar = _reporter(progress, prompt)
        job = self.start_personalize(photo, prompt, source_guidance=source_guidance, negative_prompt=negative_prompt,
                                     seed=seed, steps=steps, width=width, height=height, frames=frames, guidance=guidance,
                                     schedule=schedule, solver=solver, guidance_from=guidance_from,
                                     guidance_to=guidance_to, drop_text=drop_text, noise_scale=noise_scale,
                                     progress=report, preview=preview)
        return _clip_of(job, bar)

    def estimate_sound(self, clip: Optional[Clip] = None, prompt: str = "", *, music: Optional[str] = None,
                       negative: Optional[str] = None, seed: int = 0, seconds: float = 0.0, steps: int = 0,
                       guidance: float = 0.0, noise_scale: float = 0.0, quality: float = 0.0,
                       solver: str = "midpoint", extension: str = "blended",
                       candidates: int = 0, context_sound: Optional[Sound] = None) -> Estimate:
        """What sound() needs, without starting it."""
        params = _sound_params(prompt, music, negative, seed, seconds, steps, guidance, noise_scale, quality, solver,
                               extension, candidates, context_sound)
        estimate = _abi.Estimate()
        seen = _pointer(clip, "clip", "clip")
        with self._held() as pipe:
            core_of(self.context).call(lib.mgen_sound_estimate, pipe, seen, byref(params), byref(estimate))
        return Estimate(*(getattr(estimate, name) for name in Estimate._fields))

    def start_sound(self, clip: Optional[Clip] = None, prompt: str = "", *, music: Optional[str] = None,
                    negative: Optional[str] = None, seed: int = 0, seconds: float = 0.0, steps: int = 0,
                    guidance: float = 0.0, noise_scale: float = 0.0, quality: float = 0.0, solver: str = "midpoint",
                    extension: str = "blended",
                    candidates: int = 0, context_sound: Optional[Sound] = None,
                    progress: Optional[Progress] = None) -> Job:
        """Start sound(); take it by Job.sound(). The job keeps the clip; leave its pixels alone meanwhile."""
        params = _sound_params(prompt, music, negative, seed, seconds, steps, guidance, noise_scale, quality, solver,
                               extension, candidates, context_sound)
        relay = Relay(core_of(self.context), progress, None, None)
        out = c_void_p()
        try:
            relay.attach(params)
            seen = _pointer(clip, "clip", "clip")
            relay.keep.append(clip)
            with self._held() as pipe:
                core_of(self.context).call(lib.mgen_sound_start, pipe, seen, byref(params), byref(out))
        except BaseException:
            relay.end()
            raise
        return Job(self.context, out.value, relay, relay.end)

    @_in_one_turn
    def sound(self, clip: Optional[Clip] = None, prompt: str = "", *, music: Optional[str] = None,
              negative: Optional[str] = None, seed: int = 0, seconds: float = 0.0, steps: int = 0,
              guidance: float = 0.0, noise_scale: float = 0.0, quality: float = 0.0, solver: str = "midpoint",
              extension: str = "blended",
              candidates: int = 0, context_sound: Optional[Sound] = None,
              progress: Union[bool, Progress] = False) -> Sound:
        """Make the sound of a clip, or without one of the texts alone, and wait. `prompt` says what is heard, `music` what
        the music is like ("" = any, None = no music), `negative` what is heard in what guidance leads away from. `seconds`:
        its length, 0 = the clip's. `quality`: 1..10 as captions give it, 0 = the report's. Of `candidates` the model chooses
        the one that fits best. What is longer than its window is made by `extension`, "blended" or "one_by_one". The sound
        goes on with `context_sound`. 0 steps, guidance and noise_scale are the audio model's. Sound.write_movie() joins it to
        the clip."""
        report, bar = _reporter(progress, prompt or "making sound")
        job = self.start_sound(clip, prompt, music=music, negative=negative, seed=seed, seconds=seconds, steps=steps,
                               guidance=guidance, noise_scale=noise_scale, quality=quality, solver=solver, extension=extension,
                               candidates=candidates, context_sound=context_sound, progress=report)
        try:
            with job:
                job.wait()
                return job.sound()
        finally:
            if bar is not None:
                bar.finish()


def _sound_params(prompt: str, music: Optional[str], negative: Optional[str], seed: int, seconds: float, steps: int,
                  guidance: float, noise_scale: float, quality: float, solver: str, extension: str, candidates: int,
                  context_sound: Optional[Sound]) -> SoundParams:
    return SoundParams(prompt=text_of(prompt, "prompt"), music=text_of(music, "music"),
                       negative=text_of(negative, "negative"), seed=checked(seed, 2**64 - 1, "seed"), seconds=seconds,
                       steps=steps, guidance=guidance, noise_scale=noise_scale, quality=quality,
                       solver=number_of(SOLVERS, solver, "solver"),
                       extension=number_of(EXTENSIONS, extension, "extension"), candidates=candidates,
                       context=_pointer(context_sound, "sound", "context_sound"))


def _pointer(thing: Union[Clip, Sound, None], kind: str, what: str) -> Any:
    """For C, which says itself where NULL is not allowed: of several ranks, those other than 0 may give no clip."""
    return None if thing is None else given(thing, kind, what)._live()


def _clip_of(job: Job, bar: Optional[Bar]) -> Clip:
    try:
        with job:
            job.wait()
            return job.clip()
    finally:
        if bar is not None:
            bar.finish()


def _edits(params: GenerateParams, task: str, strength: float, source_guidance: float) -> GenerateParams:
    params.edit_task = number_of(TASKS, task, "task")
    params.strength, params.source_guidance = real(strength, "strength"), real(source_guidance, "source_guidance")
    return params


def _params(prompt: str, negative_prompt: Optional[str], seed: int, steps: int, width: int, height: int, frames: int,
            guidance: float, schedule: str, format: str, solver: str, guidance_from: float,
            guidance_to: float, drop_text: Roles, noise_scale: float) -> GenerateParams:
    values: Dict[str, Any] = {
        "prompt": text_of(prompt, "prompt"), "negative_prompt": text_of(negative_prompt, "negative_prompt"),
        "seed": seed, "steps": steps, "width": width, "height": height, "frames": frames, "guidance": guidance,
        "schedule": number_of(SCHEDULES, schedule, "schedule"), "frames_format": number_of(FORMATS, format, "format"),
        "solver": number_of(SOLVERS, solver, "solver"), "guidance_from": guidance_from, "guidance_to": guidance_to,
        "drop_text": roles_of(drop_text), "noise_scale": noise_scale}
    return GenerateParams(**values)


def _reporter(progress: Union[bool, Progress], prompt: str) -> Tuple[Optional[Progress], Optional[Bar]]:
    if callable(progress):
        return progress, None
    if progress not in (True, False, None):
        raise TypeError(f"progress: a function or a bool is wanted, not {type(progress).__name__}")
    bar = Bar(prompt if len(prompt) <= 24 else prompt[:23] + "…") if progress and stderr_is_terminal() else None
    return bar, bar
