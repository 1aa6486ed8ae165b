"""Context log (LOG-01..04)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, boolean, choice, integer, path
from mailstead.settings.declarations import service_model as service

CONTEXT = Context(
    "log",
    (
        *service.logging(),
        boolean("enableSecurityLog", False, "Write logins and refusals to the security log"),
        boolean("enableLogDeduplication", True, "Fold repeated lines"),
        path("path", "logs", "Directory of log files, under the data directory"),
        integer("fileSize", 5120, 0, 2_097_151, "Size at which a file is rotated; 0 = 2 GB", "KB"),
        integer("fileTime", 86_400, 0, 2_592_000, "Age at which a file is rotated; 0 = never", "seconds"),
        integer("fileCount", 0, 0, 1000, "Rotated files that are kept; 0 = all"),
        choice("rotatePeriod", "none", ("none", "day", "week", "month"), "Rotation by the calendar"),
    ),
    permission="manageLog",
    help="Logging",
)
