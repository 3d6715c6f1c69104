"""What a requestor proposes, by what it wants to do: contexts, roles, extended negotiation (PS3.4 B.3, C.5).

An association holds 128 contexts and the registry more storage SOP classes than that, so that what is common
comes first. Whoever knows what will come says so, and gets a context for each transfer syntax.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from dicomwire.association.requestor import MOST_CONTEXTS, Context
from dicomwire.services.instances import MEDIA_STORAGE_DIRECTORY
from dicomwire.services.models import Root
from dicomwire.uids import (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    PRIVATE_STORAGE_SOP_CLASSES,
    SOP_CLASSES,
    VERIFICATION,
    storage_sop_classes,
)
from dicomwire.upper_layer.items import RoleSelection, SOPClassExtendedNegotiation


class Use(Enum):
    """What an association is for."""

    ECHO = "echo"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    STORE = "store"
    WORKLIST = "worklist"


EVERYTHING: Final = frozenset(Use)
UNCOMPRESSED: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)
COMPRESSED: Final = (
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.1.99",
)
"""Compressed transfer syntaxes of most of what archives hold, the lossless ones first."""

_COMMON_KEYWORDS: Final = """
    CTImageStorage MRImageStorage ComputedRadiographyImageStorage DigitalXRayImageStorageForPresentation
    UltrasoundImageStorage UltrasoundMultiFrameImageStorage SecondaryCaptureImageStorage
    EnhancedCTImageStorage EnhancedMRImageStorage XRayAngiographicImageStorage
    XRayRadiofluoroscopicImageStorage DigitalMammographyXRayImageStorageForPresentation
    BreastTomosynthesisImageStorage NuclearMedicineImageStorage PositronEmissionTomographyImageStorage
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage MultiFrameTrueColorSecondaryCaptureImageStorage
    GrayscaleSoftcopyPresentationStateStorage ColorSoftcopyPresentationStateStorage
    KeyObjectSelectionDocumentStorage BasicTextSRStorage EnhancedSRStorage ComprehensiveSRStorage
    XRayRadiationDoseSRStorage EncapsulatedPDFStorage SegmentationStorage RTImageStorage RTDoseStorage
    RTStructureSetStorage RTPlanStorage DigitalXRayImageStorageForProcessing
    DigitalMammographyXRayImageStorageForProcessing MultiFrameSingleBitSecondaryCaptureImageStorage
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage EnhancedXAImageStorage EnhancedXRFImageStorage
    XRay3DAngiographicImageStorage XRay3DCraniofacialImageStorage EnhancedPETImageStorage
    EnhancedMRColorImageStorage MRSpectroscopyStorage EnhancedUSVolumeStorage VLEndoscopicImageStorage
    VideoEndoscopicImageStorage VLMicroscopicImageStorage VLPhotographicImageStorage
    VideoPhotographicImageStorage VLWholeSlideMicroscopyImageStorage OphthalmicPhotography8BitImageStorage
    OphthalmicTomographyImageStorage TwelveLeadECGWaveformStorage GeneralECGWaveformStorage
    RawDataStorage SpatialRegistrationStorage DeformableSpatialRegistrationStorage RTIonPlanStorage
    EncapsulatedCDAStorage Comprehensive3DSRStorage
"""
_BY_KEYWORD: Final = {row.keyword: uid for uid, row in SOP_CLASSES.items()}
COMMON_STORAGE: Final = tuple(_BY_KEYWORD[keyword] for keyword in _COMMON_KEYWORDS.split())
"""Storage SOP classes of most of what archives hold, the commonest first: two contexts each fit."""

OTHERS_AT_ONCE: Final = 60
"""Storage SOP classes beside the common ones that are offered at once, with two contexts each."""

_ROOTS: Final = (Root.STUDY, Root.PATIENT)


def other_storage() -> list[tuple[str, ...]]:
    """All further storage SOP classes, retired and well-known private ones last, in groups."""
    there = {*COMMON_STORAGE, MEDIA_STORAGE_DIRECTORY}
    others = [uid for uid in storage_sop_classes() if uid not in there]
    others.sort(key=lambda uid: SOP_CLASSES[uid].retired)
    others += PRIVATE_STORAGE_SOP_CLASSES
    starts = range(0, len(others), OTHERS_AT_ONCE)
    return [tuple(others[start : start + OTHERS_AT_ONCE]) for start in starts]


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What extended negotiation asks for, beyond the baseline of queries and retrievals (PS3.4 C.5.1.1).

    Attributes:
        relational: keys of any level without the unique keys above it.
        combined_date_time: a date and a time range are one range.
        fuzzy: person names are matched by sound, order or prefix, as the peer does it.
        timezone: times of the query are in its Timezone Offset From UTC.
    """

    relational: bool = False
    combined_date_time: bool = False
    fuzzy: bool = False
    timezone: bool = False

    def items(self, uses: Iterable[Use], roots: Sequence[Root] = _ROOTS) -> list[SOPClassExtendedNegotiation]:
        """Sub-items 56H; none where nothing is asked for."""
        if self == QueryOptions():
            return []
        flags = (self.relational, self.combined_date_time, self.fuzzy, self.timezone)
        uses = frozenset(uses)
        models = [root.value for root in roots]
        found = []
        if Use.FIND in uses:
            found += [SOPClassExtendedNegotiation(model.find, bytes(flags)) for model in models]
        if self.relational:
            retrieving = [model.move for model in models] if Use.MOVE in uses else []
            retrieving += [model.get for model in models] if Use.GET in uses else []
            found += [SOPClassExtendedNegotiation(uid, b"\1") for uid in retrieving]
        return found


@dataclass(frozen=True, slots=True)
class Proposal:
    """What an association is requested with, and for what."""

    contexts: tuple[Context, ...]
    roles: tuple[RoleSelection, ...] = ()
    uses: frozenset[Use] = frozenset()
    roots: tuple[Root, ...] = ()


def propose(
    uses: Iterable[Use] = EVERYTHING,
    *,
    roots: Sequence[Root] = _ROOTS,
    storage: Sequence[str] = COMMON_STORAGE,
    transfer_syntaxes: Sequence[str] = COMPRESSED,
    others: Iterable[Context] = (),
) -> Proposal:
    """Contexts for some uses, and the SCP role for storage SOP classes where instances are to come.

    Args:
        roots: information models to find, move and get with.
        storage: SOP classes to send or to receive, those of most importance first; what does not fit is left
            out.
        transfer_syntaxes: compressed ones to take beside the uncompressed ones, the most wanted first.
        others: further contexts, proposed first.
    """
    uses = frozenset(uses)
    uids = [VERIFICATION] if Use.ECHO in uses else []
    for root in roots:
        model = root.value
        wanted = ((Use.FIND, model.find), (Use.MOVE, model.move), (Use.GET, model.get))
        uids += [uid for use, uid in wanted if use in uses and uid]
    if Use.WORKLIST in uses:
        uids.append(Root.WORKLIST.value.find)
    contexts = [*others, *(Context(uid, UNCOMPRESSED) for uid in dict.fromkeys(uids))]
    if not uses & {Use.GET, Use.STORE}:
        return Proposal(tuple(contexts), (), uses, tuple(roots))
    stored = storage_contexts(storage, MOST_CONTEXTS - len(contexts), transfer_syntaxes)
    classes = dict.fromkeys(context.abstract_syntax for context in stored)
    roles = [RoleSelection(uid, Use.STORE in uses, True) for uid in classes] if Use.GET in uses else []
    return Proposal((*contexts, *stored), tuple(roles), uses, tuple(roots))


def storage_contexts(
    sop_class_uids: Sequence[str], room: int, transfer_syntaxes: Sequence[str] = COMPRESSED
) -> list[Context]:
    """Contexts for storage SOP classes, as many for each as there is room.

    An acceptor takes one transfer syntax of a context. So each has its own as far as there is room, the
    last with the rest; but for the uncompressed ones, one of which everybody must take (PS3.5 10.1) and which
    archives convert into each other, one is enough where there is little room.
    """
    classes = list(dict.fromkeys(sop_class_uids))[: max(room, 0)]
    if not classes:
        return []
    each = room // len(classes)
    if each == 1:
        groups = [(*UNCOMPRESSED, *transfer_syntaxes)]
    elif each == 2:
        groups = [UNCOMPRESSED, tuple(transfer_syntaxes)]
    else:
        wanted = (*UNCOMPRESSED, *transfer_syntaxes)
        groups = [(uid,) for uid in wanted[: each - 1]] + [wanted[each - 1 :]]
    return [Context(uid, group) for uid in classes for group in groups if group]
