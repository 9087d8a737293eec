"""Which stacks there are for this Python."""

import sys

HAS_LIBDATACHANNEL = sys.version_info >= (3, 12)
collect_ignore = [] if HAS_LIBDATACHANNEL else ["test_libdatachannel.py"]


def pytest_report_header() -> str:
    """Say what is left out, and why."""
    if HAS_LIBDATACHANNEL:
        return "interoperation: aiolibdatachannel takes part"
    return "interoperation: without aiolibdatachannel, which has no wheel for Python 3.11"
