"""Known implementations and their habits, as data (PS3.7 D.3.3.2).

A habit is added to a verdict's words where the side that is to act is known to be that product. Only what its
documentation says, or what was seen on the wire, is listed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from dicomwire.diagnose.finding import Finding, Fix, Party, Side
from dicomwire.uids import IMPLEMENTATION_CLASS_UID


class Product(NamedTuple):
    """An implementation.

    Attributes:
        uid: what its Implementation Class UID begins with; "" for any.
        version: what its Implementation Version Name begins with; "" for any.
        name: as its maker calls it.
    """

    uid: str
    version: str
    name: str


PRODUCTS: Final = (
    Product(IMPLEMENTATION_CLASS_UID, "", "dicomwire"),
    Product("1.2.276.0.7230010.3.0.3", "ORTHANC", "Orthanc"),
    Product("1.2.276.0.7230010.3.0.3", "", "DCMTK"),
    Product("1.2.826.0.1.3680043.9.3811", "", "pynetdicom"),
    Product("1.2.826.0.1.3680043.8.498", "", "pydicom"),
    Product("1.2.40.0.13.1.3", "", "dcm4che 3"),
    Product("1.2.40.0.13.1.1", "", "dcm4che 2"),
    Product("1.2.40.0.13.1", "", "dcm4che"),
    Product("1.3.6.1.4.1.30071.8", "", "fo-dicom"),
    Product("1.3.6.1.4.1.25403", "", "ClearCanvas"),
    Product("1.2.826.0.1.3680043.2.135.1066.101", "", "Conquest"),
    Product("1.2.826.0.1.3680043.2.1143", "", "GDCM"),
    Product("1.2.276.0.64.1.1", "", "Mayam"),
    Product("1.2.840.114257.1", "", "LEADTOOLS"),
    Product("2.16.840.1.113669.2", "", "Merge toolkit"),
    Product("1.3.12.2.1107", "", "Siemens"),
    Product("1.2.840.113619", "", "GE"),
    Product("1.3.46.670589", "", "Philips"),
    Product("1.2.392.200036.9125", "", "Fujifilm"),
    Product("1.2.392.200036.9116", "", "Canon (Toshiba)"),
    Product("1.2.392.200036.9107", "", "Konica Minolta"),
    Product("1.2.124.113532", "", "Agfa"),
    Product("1.3.51", "", "Agfa"),
    Product("1.2.752.24", "", "Sectra"),
    Product("1.2.840.113564", "", "Carestream"),
    Product("1.2.840.113681", "", "Hologic"),
)


class Quirk(NamedTuple):
    """A product's habit that explains a cause.

    Attributes:
        product: its name, as in `PRODUCTS`.
        side: on which side the product has to be.
        code: of the cause.
        words: added to what that side should change.
    """

    product: str
    side: Side
    code: str
    words: str


_R, _A = Side.REQUESTOR, Side.ACCEPTOR

QUIRKS: Final = (
    Quirk("DCMTK", _A, "context-transfer-syntax", "DCMTK's storescp: +xa takes all syntaxes."),
    Quirk("DCMTK", _A, "no-accepted-context", "DCMTK accepts associations that have no accepted context."),
    Quirk("DCMTK", _R, "delayed-ack-stall", "DCMTK: set the environment variable TCP_NODELAY=1."),
    Quirk("DCMTK", _A, "delayed-ack-stall", "DCMTK: set the environment variable TCP_NODELAY=1."),
    Quirk("DCMTK", _A, "acceptor-busy", "DCMTK's storescp serves one association at a time without --fork."),
    Quirk("DCMTK", _A, "reject-calling-ae-title", "DCMTK's dcmqrscp: add it to HostTable and AETable."),
    Quirk("DCMTK", _A, "reject-called-ae-title", "DCMTK's dcmqrscp: its AE titles are those of AETable."),
    Quirk(
        "DCMTK",
        _A,
        "move-destination-unknown",
        "DCMTK's dcmqrscp: add it to HostTable; Orthanc, which names itself DCMTK: to DicomModalities.",
    ),
    Quirk(
        "DCMTK",
        _A,
        "query-not-allowed",
        "Orthanc, which names itself DCMTK: add the requestor to DicomModalities.",
    ),
    Quirk(
        "DCMTK",
        _A,
        "abort-before-response",
        "Orthanc, which names itself DCMTK: add the requestor to DicomModalities.",
    ),
    Quirk("Orthanc", _A, "move-destination-unknown", "Orthanc: add the destination to DicomModalities."),
    Quirk("Orthanc", _A, "query-not-allowed", "Orthanc: add the requestor to DicomModalities."),
    Quirk("Orthanc", _A, "reject-called-ae-title", "Orthanc: set DicomAet, or DicomCheckCalledAet to false."),
    Quirk("Orthanc", _A, "reject-calling-ae-title", "Orthanc: add it to DicomModalities."),
    Quirk("pynetdicom", _A, "reject-local-limit", "pynetdicom: raise AE.maximum_associations, which is 10."),
    Quirk("pynetdicom", _A, "reject-called-ae-title", "pynetdicom: see AE.require_called_aet."),
    Quirk("pynetdicom", _A, "reject-calling-ae-title", "pynetdicom: see AE.require_calling_aet."),
    Quirk("pynetdicom", _R, "dimse-no-response", "pynetdicom: AE.dimse_timeout is 30 s unless set."),
    Quirk("pynetdicom", _A, "idle-timeout", "pynetdicom: AE.network_timeout is 60 s unless set."),
    Quirk("pynetdicom", _R, "role-not-negotiated", "pynetdicom: ext_neg=[build_role(uid, scp_role=True)]."),
)


def product_of(implementation_class_uid: str, implementation_version_name: str) -> str:
    """The known implementation that announces itself so, "" where it is unknown."""
    for product in PRODUCTS:
        if not _begins(implementation_class_uid, product.uid):
            continue
        if implementation_version_name.upper().startswith(product.version):
            return product.name
    return ""


def _begins(uid: str, prefix: str) -> bool:
    return uid == prefix or uid.startswith(prefix + ".")


def apply(finding: Finding, requestor: Party, acceptor: Party) -> Finding:
    """The finding, with what is known of the products added to what their side should change."""
    fix = finding.fix
    for quirk in QUIRKS:
        if quirk.code != finding.code:
            continue
        if quirk.side is Side.REQUESTOR and quirk.product == requestor.product:
            fix = Fix(
                requestor=f"{fix.requestor} {quirk.words}".strip(), acceptor=fix.acceptor, network=fix.network
            )
        elif quirk.side is Side.ACCEPTOR and quirk.product == acceptor.product:
            fix = Fix(
                requestor=fix.requestor, acceptor=f"{fix.acceptor} {quirk.words}".strip(), network=fix.network
            )
    return finding if fix is finding.fix else replace(finding, fix=fix)
