"""From the settings of a listener to its endpoint.

Invariants: a broken certificate never takes a working one out of service, and never makes a TLS listener speak in
plain text; limits come from the shared table, so a new endpoint goes on counting where the old one was.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailstead.observe.log import get_logger
from mailstead.process.admission import FlowControl, Level, Limits, limits_of
from mailstead.process.application import ListenerSpec
from mailstead.process.certificates import CertificateError, ContextCache, tls_settings
from mailstead.process.shared_table import SharedTable
from mailstead.settings import ListenerSettings, Settings
from mailstead.settings.declaration import Snapshot
from mailstead.settings.declarations import ACCESS_LIMITS, SERVICE_CONTEXTS
from mailstead.settings.edits import place_of, read_values
from mailstead.transport.endpoint import Endpoint
from mailstead.transport.proxy_protocol import normalise
from mailstead.transport.tls import ServerContext

log = get_logger("SERVER")


class Endpoints:
    """Makes endpoints for the services of one process."""

    def __init__(self, data_dir: Path, settings: Settings, table: SharedTable, services: Sequence[str]) -> None:
        self._data_dir = data_dir
        self._settings = settings
        self._table = table
        self._services = tuple(services)
        self._contexts = ContextCache()
        self._last_good: dict[int, ServerContext] = {}

    def specs(self) -> list[ListenerSpec]:
        """What is to be listened on: enabled listeners of services that run."""
        return [
            ListenerSpec(listener.id, listener.service, listener.host, listener.port)
            for listener in self._settings.running_listeners(self._services)
        ]

    def endpoint(self, spec: ListenerSpec) -> Endpoint:
        """The endpoint of a listener as its settings are now. Raises LookupError when it is gone."""
        settings = self._settings
        listener = next((found for found in settings.listeners(spec.service) if found.id == spec.id), None)
        if listener is None:
            raise LookupError(f"listener {spec.id} of {spec.service} is gone")
        service: Any = settings.service(spec.service)
        admission = FlowControl(
            self._table,
            [
                Level(f"listener {spec.id}", settings.access_rules(spec.service, spec.id), limits_of(listener)),
                Level(f"service {spec.service}", settings.access_rules(spec.service), self._service_limits(spec.service)),
                Level("global", settings.access_rules("global")),
            ],
        )
        return Endpoint(
            service=spec.service,
            address=spec.host,
            port=spec.port,
            implicit_tls=listener.sslEnable,
            ssl_context=self._context(listener),
            idle_timeout=float(listener.idleTimeout),
            proxy_protocol=normalise(frozenset(listener.proxyProtocol)),
            proxy_timeout=float(listener.proxyProtocolTimeout),
            handshake_timeout=float(settings.service("server").sslHandshakeTimeout),
            admission=admission,
            max_errors=service.maxErrors,
            max_auth_errors=service.maxAuthErrors,
            listener_domain=listener.listenerDomain,
            submission=listener.submission,
        )

    def _service_limits(self, service: str) -> Limits:
        """Limits of a service as a whole (LIS-04): those that were set; what was not set does not limit."""
        context = SERVICE_CONTEXTS[f"{service}AccessControl"]
        explicit = read_values(self._settings.database, place_of(context), context)
        values = {setting.name: setting.default for setting in ACCESS_LIMITS.settings}
        values.update({name: context.setting(name).parse(text) for name, text in explicit.items()})
        return limits_of(Snapshot(values))

    def _context(self, listener: ListenerSettings) -> ServerContext | None:
        wanted = tls_settings(listener, self._data_dir)
        try:
            context = self._contexts.get(wanted)
        except CertificateError as exc:
            log.error("certificate not usable", listener=listener.address, reason=str(exc))
            return self._last_good.get(listener.id)
        if context is not None:
            self._last_good[listener.id] = context
        elif listener.sslEnable:  # made by an earlier release, for the settings refuse it now
            log.error("listener has sslEnable but no certFile: it serves nobody", listener=listener.address)
        return context
