"""The logs of a server process: one event a line, as JSON for machines or in columns for people.

What the library logs goes through the standard library with its fields in `extra`; only here are they given a form.
"""

import logging
import sys
from enum import StrEnum
from typing import TextIO

from .errors import MissingExtra

try:
    import structlog
except ImportError as error:
    raise MissingExtra("server") from error


class LogFormat(StrEnum):
    """How a line looks."""

    JSON = "json"
    CONSOLE = "console"


class LogLevel(StrEnum):
    """What is logged: trouble, each connection as well, or each signal as well."""

    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"


def configure_logs(log_format: LogFormat, level: LogLevel, stream: TextIO | None = None) -> None:
    """Send the logs of this process to the stream, or to the standard error."""
    target: TextIO = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format is LogFormat.JSON:
        render: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=target.isatty(), repr_native_str=True)]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.value.upper())
