# SPDX-License-Identifier: MIT
"""Where models are when nobody names a folder."""
import os
from typing import List

from . import _library, errors
from ._abi import lib

VARIABLE = "MOVIEGEN_MODEL"
_LIBRARY = _library.file_of(lib)  # now, as it may be relative to the current folder


def _candidates() -> List[str]:
    """The toybox's model in this package, where the library's prefix has it, or in the repository that holds the
    library's build folder."""
    places = [os.path.join(_library.BUNDLED, "toybox")]
    if _LIBRARY:
        above = os.path.dirname(os.path.dirname(_LIBRARY))
        for prefix in (above, os.path.dirname(above)):  # of PREFIX/lib and PREFIX/lib/x86_64-linux-gnu
            places.append(os.path.join(prefix, "share", "moviegen", "models", "toybox"))
        places.append(os.path.join(above, "examples", "models", "toybox"))
    return places


def toybox_model() -> str:
    """The folder of the toybox's model: the one in this package, if it came with the library inside, or the one that the
    library was installed or built with. NotFoundError says where it was looked for."""
    places = _candidates()
    for place in places:
        if os.path.exists(os.path.join(place, "pipeline.json")):
            return place
    raise errors.NotFoundError(f"the toybox's model is in none of {', '.join(places)}; give the folder of a model, or set "
                               f"{VARIABLE} to it")


def default_model() -> str:
    """What the environment names, as for the program, or the toybox's."""
    return os.environ.get(VARIABLE) or toybox_model()
