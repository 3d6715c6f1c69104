"""`dicomwire worklist`: what is scheduled, as a modality asks for it (PS3.4 K.4.1)."""

from __future__ import annotations

from dicomwire.cli import find, query
from dicomwire.cli.connection import Asked, Flags, accepted
from dicomwire.cli.find import Csv, Fuzzy, Limit
from dicomwire.cli.output import Json, Stop, Verbose, log_to_stderr
from dicomwire.cli.query import CharacterSet, Keys


@accepted
def worklist(
    peer: Asked,
    keys: Keys = None,
    *,
    limit: Limit = None,
    fuzzy: Fuzzy = False,
    character_set: CharacterSet = None,
    flags: Flags,
    as_csv: Csv = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Ask a peer for its worklist: C-FIND of Modality Worklist. Exit status as of `find`.

    Keys are `PatientName=DOE*`, `AccessionNumber=A1`; those of the scheduled step, such as `Modality=CT` or
    `ScheduledProcedureStepStartDate=20260101-`, need no sequence before them.
    """
    from dicomwire.services.keys import IN_STEP, STEP
    from dicomwire.services.proposals import QueryOptions

    log_to_stderr(verbose=verbose)
    if as_csv and as_json:
        raise Stop("--csv and --json are two forms of output: give one", 2)
    named = [f"{STEP}.{key}" if key.partition("=")[0].strip() in IN_STEP else key for key in keys or ()]
    asked = query.question(named, None, "worklist", retrieve=False)
    options = QueryOptions(False, False, fuzzy, False)
    find.tell(flags.peer(peer), asked, options, limit, character_set, as_csv=as_csv, as_json=as_json)
