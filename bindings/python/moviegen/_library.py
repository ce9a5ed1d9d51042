# SPDX-License-Identifier: MIT
"""Finds and loads libmoviegen.so.0."""
import ctypes
import os
import sys
import sysconfig
from typing import List

SONAME = "libmoviegen.so.0"
VARIABLE = "MOVIEGEN_LIBRARY"
# What scripts/make_wheel.py puts into a wheel: the library, its plug-in in moviegen/ beside it, and the model in toybox/.
BUNDLED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_bundled")


def candidates() -> List[str]:
    """What to load, in order: the path that the environment names and nothing else; or the library that came with
    this package; what the dynamic loader finds (LD_LIBRARY_PATH, ldconfig); and the prefix that this Python runs
    from, such as a virtual environment that the library was installed into."""
    named = os.environ.get(VARIABLE)
    if named:
        return [named]
    bundled = os.path.join(BUNDLED, SONAME)
    below = os.path.join(sys.prefix, "lib")
    folders = [below, os.path.join(below, sysconfig.get_config_var("MULTIARCH") or ""), below + "64"]
    paths = [os.path.join(folder, SONAME) for folder in dict.fromkeys(folders)]
    paths = [path for path in paths if os.path.exists(path)]
    return ([bundled] if os.path.exists(bundled) else []) + [SONAME] + paths


def load() -> ctypes.CDLL:
    """The library; ImportError says what was tried. Its calls run without the interpreter's lock."""
    tried = []
    for path in candidates():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            tried.append(f"{path} ({error})")
    where = (f"as the environment variable {VARIABLE} says" if os.environ.get(VARIABLE) else
             f"with {VARIABLE} not set, in this package, by the dynamic loader and below {sys.prefix}")
    raise ImportError(f"moviegen needs the library {SONAME}, which could not be loaded; tried {where}: "
                      f"{'; '.join(tried)}. Set {VARIABLE} to the library's path, or add its folder to "
                      "LD_LIBRARY_PATH; or install a wheel that holds the library (scripts/make_wheel.py makes one)")


class _Origin(ctypes.Structure):
    _fields_ = [("file", ctypes.c_char_p), ("base", ctypes.c_void_p), ("symbol", ctypes.c_char_p), ("at", ctypes.c_void_p)]


def file_of(library: ctypes.CDLL) -> str:
    """The path of a library that is loaded; empty where the loader does not tell."""
    origin = _Origin()
    try:
        found = ctypes.CDLL(None).dladdr(ctypes.cast(library.mgen_version, ctypes.c_void_p), ctypes.byref(origin))
    except AttributeError:
        return ""
    return os.path.realpath(os.fsdecode(origin.file)) if found and origin.file else ""
