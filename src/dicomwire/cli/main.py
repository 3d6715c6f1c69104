"""The command `dicomwire`: the table of commands; where errors become lines and exit statuses.

Exit status: 0 done, 1 the peer or the data said no, 2 wrong use. Commands import what they need when they
run, so that each starts fast.
"""

from __future__ import annotations

import os
import sys
import traceback

import typer

from dicomwire.cli import (
    archive,
    associations,
    commit,
    compare,
    config,
    conformance,
    decode,
    doctor,
    echo,
    explain,
    find,
    get,
    jobs,
    move,
    mpps,
    proxy,
    send,
    serve,
    uids,
    ups,
    version,
    web,
    worklist,
)
from dicomwire.cli.address import AddressError
from dicomwire.cli.output import Stop, escaped, say
from dicomwire.errors import ConfigurationError, DicomwireError, LocalProtocolError

app = typer.Typer(
    name="dicomwire",
    help="A DICOM node that explains itself: DIMSE and DICOMweb on one archive.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(version.options)
app.command()(serve.serve)
app.command()(echo.echo)
app.command()(send.send)
app.command()(find.find)
app.command()(move.move)
app.command()(get.get)
app.command()(commit.commit)
app.command()(mpps.mpps)
app.command()(worklist.worklist)
app.command()(ups.ups)
app.command()(explain.explain)
app.command()(decode.decode)
app.command()(compare.compare)
app.command()(doctor.doctor)
app.command()(proxy.proxy)
app.command()(uids.uids)
app.command()(conformance.conformance)
app.add_typer(archive.app, name="archive")
app.add_typer(web.app, name="web")
app.add_typer(jobs.app, name="jobs")
app.add_typer(associations.app, name="associations")
app.command("export", hidden=True)(archive.export_files)
app.command("import", hidden=True)(archive.import_files)
app.add_typer(config.app, name="config")
app.command()(version.version)


def main() -> None:
    """Run a command and exit."""
    try:
        app()
    except Stop as stop:
        _tell(stop.message, stop.status)
    except (ConfigurationError, AddressError, LocalProtocolError) as error:
        _tell(str(error), 2)
    except DicomwireError as error:
        _tell(str(error), 1)
    except KeyboardInterrupt:
        _tell("interrupted", 130)
    except BrokenPipeError:
        # Who reads our output, `head` say, has enough. The interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _tell(message: str, status: int) -> None:
    """One line a fault on stderr, with the traceback where --verbose asks for it."""
    if "--verbose" in sys.argv:
        traceback.print_exc()
    for line in message.splitlines():
        say(f"dicomwire: {escaped(line)}")
    sys.exit(status)
