# SPDX-License-Identifier: Apache-2.0
"""System checks: every setting, and what would keep the package from working as its documentation says."""
