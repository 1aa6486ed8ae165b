"""`mailstead init` and `demo`."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import click

from mailstead.cli import admin_password
from mailstead.cli.bootstrap_option import explained
from mailstead.cli.demonstration import banner, demo_plan, has_ports_of
from mailstead.cli.run import configure_log
from mailstead.process import installation, launch
from mailstead.process.application import ListenerSpec, StartError
from mailstead.process.binding import TAKEN, refusals
from mailstead.process.bootstrap import FILE_NAME, Bootstrap, read
from mailstead.settings.ip_set import split_host_port


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--hostname", default=socket.getfqdn, show_default="this host's", help="Name of the server.")
@click.option("--domain", required=True, help="First mail domain.")
@click.option("--admin", default="admin", show_default=True, help="Name of the first administrator.")
@click.option("--admin-password", "password", envvar=admin_password.VARIABLE, help=admin_password.HELP)
@click.option("--user", default="", help="User to run as when started by root.")
@click.option(
    "--shards", default=installation.usual_shards, show_default="by cores", type=click.IntRange(1, 256), help="Index files.",
)  # fmt: skip
def init(directory: Path, hostname: str, domain: str, admin: str, password: str | None, user: str, shards: int) -> None:
    """Make a data directory with its first domain and administrator."""
    password = admin_password.wanted(password, "Admin password")
    plan = installation.Plan(
        hostname, domain, admin, password, user=user, shards=shards,
        accounts=[("postmaster", None)], listeners=installation.standard_listeners(),
    )  # fmt: skip
    with explained():
        path = installation.create(directory, plan)
    click.echo(f"Made {directory}: domain {domain}, administrator {admin}, a self-signed certificate for {hostname}.")
    click.echo(f"Mail to postmaster@{domain} is kept; `mailstead user passwd postmaster@{domain}` opens its mailbox.")
    click.echo(f"Start it with: mailstead run --config {path}")


@click.command()
@click.option("--data", "data", type=click.Path(path_type=Path), default=Path("demo-data"), show_default=True)
@click.option("--workers", type=click.IntRange(0, 30), help="Worker processes; 0: everything in one process.")
@click.option(
    "--port-offset",
    default=0,
    type=click.IntRange(0, 50000),
    help="Added to every port of a new demo; an existing one keeps its ports.",
)
def demo(data: Path, workers: int | None, port_offset: int) -> None:
    """Serve a demonstration on loopback; its data is kept between runs."""
    data = data.resolve()
    with explained():
        if not (data / FILE_NAME).exists():
            plan = demo_plan(port_offset)
            specs = [ListenerSpec(0, one.service, *split_host_port(one.address)) for one in plan.listeners]
            refused = refusals(specs)
            if refused:
                reasons = dict.fromkeys(one.reason for one in refused)
                told = [f"{', '.join(one.address for one in refused if one.reason == reason)}: {reason}" for reason in reasons]
                remedy = ["--port-offset N shifts all ports"] if TAKEN in reasons else []
                raise StartError("; ".join(told + remedy))
            click.echo(f"Making {data} ...")
            installation.create(data, plan)
        elif port_offset and not has_ports_of(data, port_offset):
            text = f"--port-offset counts for a new directory only: {data} exists and keeps its ports; --data names another."
            click.echo(text, err=True)
        bootstrap: Bootstrap = read(data)
        configure_log("information", "text", data / "mailstead.log")
        count = bootstrap.worker_count() if workers is None else workers
        status = launch.run(bootstrap, count, announcement=banner(data))
    sys.exit(status)
