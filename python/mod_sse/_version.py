# SPDX-License-Identifier: Apache-2.0
"""The version, alone in a file so that packaging can read it without Django."""

__version__ = "0.1.0"
