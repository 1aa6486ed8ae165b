"""Context log (LOG-01..04)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Kind, Reload, boolean, choice, form, integer
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "log",
    (
        *service.logging(),
        boolean("enableSecurityLog", False, "Write logins and refusals to the security log"),
        boolean("enableLogDeduplication", True, "Fold repeated lines"),
        form("path", Kind.DIRECTORY, "logs", "Directory of log files, under the data directory", reload=Reload.RESTART),
        integer("fileSize", 5120, 100, 2_097_151, "Size at which a file is rotated; 0 = 2 GB", "KB", or_zero=True),
        integer("fileTime", 86_400, 600, 2_592_000, "Age at which a file is rotated; 0 = never", "seconds", or_zero=True),
        integer("fileCount", 0, 0, 1000, "Rotated files that are kept; 0 = all"),
        choice("rotatePeriod", "none", ("none", "day", "week", "month"), "Rotation by the calendar"),
    ),
    permission="manageLog",
    help="Logging",
)
