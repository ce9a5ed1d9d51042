# SPDX-License-Identifier: MIT
"""Finds and loads libmoviegen.so.0."""
import ctypes
import os
import sys
import sysconfig
from typing import List

SONAME = "libmoviegen.so.0"
VARIABLE = "MOVIEGEN_LIBRARY"


def candidates() -> List[str]:
    """What to load, in order: the path that the environment names and nothing else; or what the dynamic
    loader finds (LD_LIBRARY_PATH, ldconfig), then the prefix that this Python runs from, such as a virtual
    environment that the library was installed into."""
    named = os.environ.get(VARIABLE)
    if named:
        return [named]
    below = os.path.join(sys.prefix, "lib")
    folders = [below, os.path.join(below, sysconfig.get_config_var("MULTIARCH") or ""), below + "64"]
    paths = [os.path.join(folder, SONAME) for folder in dict.fromkeys(folders)]
    return [SONAME] + [path for path in paths if os.path.exists(path)]


def load() -> ctypes.CDLL:
    """The library; ImportError says what was tried. Its calls run without the interpreter's lock."""
    tried = []
    for path in candidates():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            tried.append(f"{path} ({error})")
    where = (f"as the environment variable {VARIABLE} says" if os.environ.get(VARIABLE) else
             f"with {VARIABLE} not set, by the dynamic loader and below {sys.prefix}")
    raise ImportError(f"moviegen needs the library {SONAME}, which could not be loaded; tried {where}: "
                      f"{'; '.join(tried)}. Set {VARIABLE} to the library's path, or add its folder to "
                      "LD_LIBRARY_PATH")
