#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clang-format decides how C looks. Skipped where there is none.
set -eu
command -v clang-format >/dev/null || exit 77
cd "$(dirname "$0")/../.."
find mod_sse.c src tests \( -name '*.c' -o -name '*.h' \) -print | sort | xargs clang-format --dry-run -Werror
