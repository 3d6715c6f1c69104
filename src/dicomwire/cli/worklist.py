"""`dicomwire worklist`: what is scheduled, as a modality asks for it (PS3.4 K.4.1)."""

from __future__ import annotations

from dicomwire.cli import find, query
from dicomwire.cli.connection import Asked, Flags
from dicomwire.cli.find import Listing
from dicomwire.cli.groups import accepted
from dicomwire.cli.output import Verbose, log_to_stderr
from dicomwire.cli.query import Keys, Scope


@accepted(listing=Listing, flags=Flags)
def worklist(
    peer: Asked,
    keys: Keys = None,
    *,
    listing: Listing,
    flags: Flags,
    verbose: Verbose = False,
) -> None:
    """Ask a peer for its worklist: C-FIND of Modality Worklist. Exit status as of `find`.

    Keys are `PatientName=DOE*`, `AccessionNumber=A1`; those of the scheduled step, such as `Modality=CT` or
    `ScheduledProcedureStepStartDate=20260101-`, need no sequence before them.
    """
    from dicomwire.services.proposals import QueryOptions
    from dicomwire.work.worklist_keys import IN_STEP, STEP

    log_to_stderr(verbose=verbose)
    listing.check()
    named = [f"{STEP}.{key}" if key.partition("=")[0].strip() in IN_STEP else key for key in keys or ()]
    asked = query.question(named, Scope(root="worklist"), retrieve=False)
    options = QueryOptions(False, False, listing.fuzzy, False)
    find.tell(flags.peer(peer), asked, options, listing)
