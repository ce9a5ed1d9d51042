# SPDX-License-Identifier: MIT
"""The version of this binding, which is that of the header it was written for."""
__version__ = "0.1.0"
