"""Contexts webmail, webadmin and webmailProxy (WML-01..03, WML-16, ADM-05, CLU-08)."""

from __future__ import annotations

from mailstead.settings.declaration import Context, Reload, Setting, boolean, choice, integer, path, text
from mailstead.settings.declarations import service_model as service
from mailstead.settings.declarations.account_security import account_security, two_factor
from mailstead.settings.declarations.proxies import on_proxy

INTERFACES = ("ajaxDefault", "ajaxOnly", "standardDefault", "standardOnly")


def _pages(directory: str, body: int) -> tuple[Setting, ...]:
    """WML-02: what every HTTP service has."""
    return (
        path("path", directory, "Directory of the pages; empty = the built-in ones", optional=True),
        boolean("allowKeepAlive", True, "Keep connections for more requests", reload=Reload.NEW_SESSIONS),
        boolean("allowLargeIncomingData", False, "Take bodies above the limit from sessions that are logged in"),
        integer("httpHeadersMaxSize", 64, 16, 10_240, "Largest header section of a request", "KB"),
        integer("httpBodyMaxSize", body, 16, 163_840, "Largest body of a request", "KB"),
        boolean("httpServerHeaderEnable", False, "Name the product in the Server header"),
        text("httpHstsHeaderValue", "", "Strict-Transport-Security (RFC 6797); empty = none"),
    )


def _sessions(upload: int) -> tuple[Setting, ...]:
    return (
        integer("sessionIdleTimeout", 900, 0, 604_800, "Idle time that ends a session; 0 = never", "seconds"),
        integer("sessionActivityTimeout", 216_000, 0, 31_536_000, "Longest session; 0 = unlimited", "seconds"),
        integer("uploadMaxSize", upload, 16, 1_048_576, "Largest uploaded file", "KB"),
    )


def _entrance() -> tuple[Setting, ...]:
    """WML-03, PWD-02: the login page."""
    return (
        boolean("enableMobileWebmail", True, "Offer the interface for telephones"),
        choice("userInterfaceType", "ajaxDefault", INTERFACES, "Interfaces on offer"),
        boolean("enablePasswordRecovery", False, "Users may recover a forgotten password"),
        boolean("enableUsernameRecovery", False, "Users may ask for a forgotten name"),
        boolean("allowSPNEGOAuth", True, "Take Kerberos logins of the browser"),
        boolean("enableLoginCaptcha", False, "Ask for a captcha after failed logins"),
        integer("showCaptchaAfterFailedLoginsCount", 3, 0, 1000, "Failed logins before the captcha"),
        text("accessControlAllowOrigin", "none", "Access-Control-Allow-Origin: none, * or an origin"),
    )


WEBMAIL = Context(
    "webmail",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *_pages("webmail", 4096),
        *_sessions(16_384),
        *_entrance(),
        boolean("showDomainList", False, "List the domains on the login page"),
        boolean("enableActiveSync", False, "Serve ActiveSync"),
        boolean("enableIcalCalendar", True, "Serve calendars as iCalendar files"),
        boolean("enableIcalFreebusy", True, "Serve free/busy times"),
        boolean("enableWebDAVCardDAV", True, "Serve CardDAV"),
        boolean("enableWebDAVCalDAV", True, "Serve CalDAV"),
        boolean("enableZoomConnector", False, "Offer Zoom meetings"),
        boolean("enableTeamsConnector", False, "Offer Teams meetings"),
        boolean("enableOfficeDocumentsPreview", True, "Show office documents in the browser"),
        integer("batchAsyncThreshold", 1000, 1, 1_000_000, "Messages from which an operation runs in the background"),
    ),
    permission="manageWebMail",
    help="WebMail, and what else is served over HTTP to users",
)

WEBADMIN = Context(
    "webadmin",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *_pages("webadmin", 1024),
        *_sessions(131_072),
        *account_security(),
        *two_factor("enabled"),
    ),
    permission="manageWebAdmin",
    help="Administration in the browser",
)

WEBMAIL_PROXY = Context(
    "webmailProxy",
    (
        *service.threads(),
        *service.errors(),
        *service.logging(),
        *service.user_database(),
        *on_proxy(),
        *_pages("webmail", 4096),
        *_entrance(),
        integer("requestsQueueMaxSize", 64, 1, 1_048_576, "Waiting requests of one back end", "KB"),
        text("httpBindBackend", "", "URL of the back end of BIND requests; empty = by the user", longest=2048),
    ),
    permission="manageWebmailProxy",
    help="WebMail in front of back ends",
)
