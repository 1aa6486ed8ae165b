"""MAIL (RFC 5321 section 4.1.1.2), with SIZE, BODY, SMTPUTF8, RET, ENVID, AUTH."""

from __future__ import annotations

from mailstead.directory.model import RecipientKind
from mailstead.settings.database import SystemDatabaseError
from mailstead.smtp.acceptance import refused
from mailstead.smtp.grammar import NO_PARAMETERS, BadCommand, parse_mail, parse_path
from mailstead.smtp.session import Session


def mail(session: Session, arguments: bytes, more: bool) -> None:
    """Begin a transaction."""
    session.need_helo()
    if session.transaction is not None:
        raise BadCommand(503, "5.5.1", "A transaction is open already")
    session.options = options = session.server.options()
    if options.max_transactions and session.transactions >= options.max_transactions:
        session.goodbye(b"421 4.7.0 %b Too many messages in one connection\r\n")
        return
    if session.login is None:
        if session.link.endpoint.submission and options.submission_auth:
            raise BadCommand(530, "5.7.0", "Authentication required")
    elif not _still_valid(session):
        session.goodbye(b"421 4.7.0 %b The login is no longer valid\r\n")
        return
    sender, rest = parse_path(arguments, b"FROM:", "5.1.7")
    parameters = NO_PARAMETERS
    if rest:
        if not session.extended and rest.strip():
            raise BadCommand(555, "5.5.4", "Parameters need EHLO")
        parameters = parse_mail(rest, options.extensions)
        if options.max_size and parameters.size > options.max_size:
            session.reply(b"552 5.3.4 Message too big\r\n")
            return
    if sender:
        _check_sender(session, sender, parameters.utf8)
    if session.login is not None and session.login.rules is not None:
        refusal = session.server.services.delivery.sending.blocked(session.login)
        if refusal is not None:
            session.reply(refused(refusal))
            session.server.services.delivery.overstepped(session.login, refusal)
            return
    if not session.server.services.delivery.has_room(parameters.size):
        session.reply(b"452 4.3.1 Insufficient system storage\r\n")
        return
    session.begin(sender, parameters)
    session.reply(b"250 2.1.0 Ok\r\n")


def _check_sender(session: Session, sender: str, utf8: bool) -> None:
    if "@" not in sender:
        raise BadCommand(553, "5.1.7", "The address needs a domain")
    if not utf8 and not sender.isascii():
        raise BadCommand(553, "5.6.7", "The address needs SMTPUTF8")
    if session.login is not None and session.options.check_sender and not _owns(session, sender):
        raise BadCommand(553, "5.7.1", "The sender address is not yours")


def _still_valid(session: Session) -> bool:
    """A login ends with its account, its password or its right to this service."""
    login = session.login
    assert login is not None
    try:
        account = session.server.services.directory.account(login.id)
    except SystemDatabaseError:
        return False
    if account is None or not account.enabled or account.auth_version != login.auth_version:
        return False
    session.login = account  # its limits as they are now
    return True


def _owns(session: Session, sender: str) -> bool:
    """SMI-13: address, aliases and subaddresses of the login, and what groups and folder recipients let it use (GRP-01,
    PUB-02); a catch-all does not make every name its own."""
    login = session.login
    assert login is not None
    directory = session.server.services.directory
    account = directory.account_by_address(sender)
    if account is not None:
        return account.id == login.id
    found = directory.resolve(sender)
    if found.kind in (RecipientKind.GROUP, RecipientKind.FOLDER):
        return directory.may_send_as(login, sender)
    return found.kind is RecipientKind.LOCAL and bool(found.detail) and found.account is not None and found.account.id == login.id
