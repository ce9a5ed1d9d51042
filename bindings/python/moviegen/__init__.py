# SPDX-License-Identifier: MIT
"""Movie Gen from Python: text to video by libmoviegen.

    import moviegen

    with moviegen.Context() as context, moviegen.Pipeline(context) as pipeline:
        pipeline.generate("a red ball rolls left on grass", progress=True).write("movie.mp4")

The library is what the environment variable MOVIEGEN_LIBRARY names, or the one in this package, or else what the dynamic
loader finds; the model, if no folder is given, what MOVIEGEN_MODEL names, or the toybox's (toybox_model()).
"""
from ._abi import CONSTANTS as _CONSTANTS
from ._places import toybox_model
from ._version import __version__
from .clip import Clip
from .context import Context, Memory, Ranks
from .errors import (AgainError, CancelledError, ControlError, CorruptError, DesyncError, DeviceError, DeviceLostError,
                     Error, FileError, InternalError, InvalidError, LimitError, NoMemoryError, NoSpaceError,
                     NotFoundError, NumericError, PeerError, PeerLostError, ReadWriteError, ResourceError, StateError,
                     TimedOutError, UnsupportedError, UsageError, VersionError)
from .measure import Report, curate, evaluate, plan, plan_mesh, plan_recipe, toybox_prompts, version
from .models import (ROLES, AudioModel, Editor, ModelInfo, Personalizer, Rewriter, Tae, TextEncoder, Upsampler, VideoModel,
                     average, convert, noise, schedule)
from .pipeline import Estimate, Job, JobInfo, Pipeline, Stream
from .sound import Sound
from .training import Dataset, Sample, Trainer

LOG_ERROR: int = _CONSTANTS["MGEN_LOG_ERROR"]
LOG_WARN: int = _CONSTANTS["MGEN_LOG_WARN"]
LOG_INFO: int = _CONSTANTS["MGEN_LOG_INFO"]
LOG_DEBUG: int = _CONSTANTS["MGEN_LOG_DEBUG"]

__all__ = [
    "AgainError", "AudioModel", "CancelledError", "Clip", "Context", "ControlError", "CorruptError", "Dataset", "DesyncError",
    "DeviceError", "DeviceLostError", "Editor", "Error", "Estimate", "FileError", "InternalError", "InvalidError", "Job",
    "JobInfo", "LOG_DEBUG", "LOG_ERROR", "LOG_INFO", "LOG_WARN", "LimitError", "Memory", "ModelInfo", "NoMemoryError",
    "NoSpaceError", "NotFoundError", "NumericError", "PeerError", "PeerLostError", "Personalizer", "Pipeline", "ROLES", "Ranks",
    "ReadWriteError", "Report", "ResourceError", "Rewriter", "Sample", "Sound", "StateError", "Stream", "Tae", "TextEncoder",
    "TimedOutError", "Trainer", "UnsupportedError", "Upsampler", "UsageError", "VersionError", "VideoModel", "__version__",
    "average", "convert", "curate", "evaluate", "noise", "plan", "plan_mesh", "plan_recipe", "schedule", "toybox_model",
    "toybox_prompts", "version",
]
