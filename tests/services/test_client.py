"""The library: an association with a peer, and what it can be asked."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

import dicomwire
from dicomwire.association.address import AddressError
from dicomwire.association.performer import Request
from dicomwire.dimse.command import (
    CEchoRq,
    CStoreRq,
    NActionRq,
    NCreateRq,
    NDeleteRq,
    NEventReportRq,
    NGetRq,
    NSetRq,
)
from dicomwire.errors import (
    Aborted,
    AssociationEnded,
    LocalProtocolError,
    NoAcceptedContext,
    OperationFailed,
    QueryError,
)
from dicomwire.services.client import Client
from dicomwire.services.folder import Written
from dicomwire.services.proposals import QueryOptions
from dicomwire.services.sending import Delivery, Outcome
from dicomwire.uids import VERIFICATION
from dicomwire.upper_layer.items import RoleSelection
from tests.services.peer import MPPS, Peer, peering
from tests.services.retrieving import (
    CT,
    MR,
    SERIES,
    STUDY,
    Receiver,
    destination,
    encoded,
    image,
    keep,
    listening,
)


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    async with peering(tmp_path / "archive") as there:
        yield there


@pytest.fixture
async def client(peer: Peer) -> AsyncIterator[Client]:
    async with dicomwire.connect(peer.address) as association:
        yield association


def answer(**values: str) -> Dataset:
    data = Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def bundled(name: str) -> Path:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    return Path(path)


# The association


async def test_one_association_is_good_for_everything(client: Client) -> None:
    await client.echo()
    assert [study async for study in client.find()] == []
    assert client.association.agreement.refused == ()


async def test_only_what_an_association_is_for_is_proposed(peer: Peer) -> None:
    async with dicomwire.connect(peer.address, uses=["find"]) as association:
        proposed = {each.abstract_syntax for each in association.association.contexts.values()}
        assert proposed == {"1.2.840.10008.5.1.4.1.2.1.1", "1.2.840.10008.5.1.4.1.2.2.1"}
        with pytest.raises(NoAcceptedContext):
            await association.echo()


async def test_a_host_and_a_port_do_too(peer: Peer) -> None:
    port = peer.acceptor.port
    async with dicomwire.connect("127.0.0.1", port, called_ae_title="PEER", uses=["echo"]) as association:
        await association.echo()
        assert association.association.called_ae_title == "PEER"


async def test_an_address_and_uses_that_cannot_be_are_refused(peer: Peer) -> None:
    with pytest.raises(dicomwire.DicomwireError, match="names no port") as raised:
        async with dicomwire.connect("PEER@127.0.0.1"):
            pass
    assert isinstance(raised.value, AddressError)
    with pytest.raises(LocalProtocolError, match="uses are echo, find"):
        async with dicomwire.connect(peer.address, uses=["print"]):
            pass


async def test_an_application_that_fails_aborts(peer: Peer) -> None:
    async def fail() -> None:
        async with dicomwire.connect(peer.address, uses=["echo"]) as association:
            await association.echo()
            raise RuntimeError("the application's own")

    with pytest.raises(RuntimeError, match="own"):
        await fail()


async def test_release_and_abort_can_come_early(peer: Peer) -> None:
    async with dicomwire.connect(peer.address, uses=["echo"]) as association:
        await association.release()
        with pytest.raises(dicomwire.DicomwireError):
            await association.echo()
    async with dicomwire.connect(peer.address, uses=["echo"]) as association:
        association.abort()


# C-FIND


async def test_matches_come_as_pydicom_data_sets(client: Client, peer: Peer) -> None:
    peer.finder.answers = [answer(PatientID="1", StudyDate="20200102"), answer(PatientID="2")]
    found = [study async for study in client.find(PatientName="DOE*", StudyDate=date(2020, 1, 2))]
    assert [each.PatientID for each in found] == ["1", "2"]
    asked = peer.finder.asked[0]
    assert asked.PatientName == "DOE*"
    assert asked.StudyDate == "20200102"
    assert asked.QueryRetrieveLevel == "STUDY"
    assert asked.StudyInstanceUID == ""


@pytest.mark.parametrize(
    "query",
    [
        {
            "PatientID": "7",
            "Modality": ["CT", "MR"],
            "RequestAttributesSequence": {"RequestedProcedureID": "r"},
        },
        ["PatientID=7", "Modality=CT\\MR", "RequestAttributesSequence.RequestedProcedureID=r"],
    ],
)
async def test_keys_may_be_a_mapping_or_lines(client: Client, peer: Peer, query: object) -> None:
    assert [_ async for _ in client.find(query, level="series")] == []  # type: ignore[arg-type]
    (asked,) = peer.finder.asked
    assert asked.QueryRetrieveLevel == "SERIES"
    assert asked.PatientID == "7"
    assert asked.Modality == ["CT", "MR"]
    assert asked.RequestAttributesSequence[0].RequestedProcedureID == "r"


async def test_keys_may_be_a_data_set(client: Client, peer: Peer) -> None:
    query = answer(QueryRetrieveLevel="PATIENT", PatientName="MÜLLER*", PatientID="", PatientBirthDate="")
    query.SpecificCharacterSet = "ISO_IR 100"
    assert [_ async for _ in client.find(query, root="patient")] == []
    (asked,) = peer.finder.asked
    asked.decode()
    assert {each.keyword for each in asked} == {each.keyword for each in query}
    assert asked.PatientName == "MÜLLER*"
    assert asked.SpecificCharacterSet == "ISO_IR 100"


async def test_an_unknown_key_is_refused_before_anything_is_sent(client: Client, peer: Peer) -> None:
    with pytest.raises(QueryError, match="did you mean PatientName"):
        _ = [_ async for _ in client.find(PatientNam="x")]
    assert peer.finder.asked == []


async def test_matches_are_there_as_bytes_too(client: Client, peer: Peer) -> None:
    peer.finder.answers, peer.finder.pending = [answer(PatientID="1")], 0xFF01
    (match,) = [match async for match in client.matches()]
    assert match.status == 0xFF01
    assert match.values() == {(0x00100020,): ("1",)}
    assert match.json() == b'{"00100020":{"vr":"LO","Value":["1"]}}'


async def test_a_failure_is_raised_with_the_peers_words(client: Client, peer: Peer) -> None:
    peer.finder.status, peer.finder.comment = 0xA900, "StudyInstanceUID is missing"
    peer.finder.offending = (0x0020000D,)
    with pytest.raises(OperationFailed, match=r"A900H.*StudyInstanceUID is missing.*0020,000D") as raised:
        _ = [_ async for _ in client.find(level="IMAGE")]
    assert raised.value.status == 0xA900
    await client.echo()


async def test_a_limit_cancels_the_query(client: Client, peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless = [answer(PatientID="1")], True
    assert len([_ async for _ in client.find(limit=3)]) == 3
    assert len(peer.finder.cancelled) == 1
    peer.finder.endless = False
    assert len([_ async for _ in client.find(limit=3)]) == 1


async def test_leaving_a_query_cancels_it(client: Client, peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless = [answer(PatientID="1")], True
    found = client.find()
    await anext(found)
    await found.aclose()
    await client.echo()
    assert len(peer.finder.cancelled) == 1


async def test_a_loop_that_is_left_is_cancelled_before_the_release(peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless = [answer(PatientID="1")], True
    async with dicomwire.connect(peer.address, uses=["find"]) as association:
        async for _ in association.find():
            break
    async with asyncio.timeout(5):
        await peer.finder.ended.wait()
    assert len(peer.finder.cancelled) == 1
    assert isinstance(association.association.ended, AssociationEnded)
    assert not isinstance(association.association.ended, Aborted)


async def test_a_query_within_a_query_is_answered(client: Client, peer: Peer) -> None:
    # More answers than an association holds while nobody takes them.
    peer.finder.answers = [answer(PatientID=str(number)) for number in range(200)]
    count = 0
    async for _ in client.find():
        async for _ in client.find(limit=1):
            count += 1
        await client.echo()
    assert count == 200
    assert len(peer.acceptor.associations) == 2


async def test_too_many_queries_within_each_other_are_refused(client: Client, peer: Peer) -> None:
    peer.finder.answers, peer.finder.endless = [answer(PatientID="1")], True
    loops = [client.find() for _ in range(17)]
    for each in loops[:-1]:
        await anext(each)
    with pytest.raises(LocalProtocolError, match="16 operations are under way"):
        await anext(loops[-1])
    for each in loops:
        await each.aclose()
    await client.echo()


async def test_a_worklist_query_has_its_step(client: Client, peer: Peer) -> None:
    assert [_ async for _ in client.worklist(Modality="CT", PatientName="DOE*")] == []
    (asked,) = peer.finder.asked
    assert asked.ScheduledProcedureStepSequence[0].Modality == "CT"
    assert asked.PatientName == "DOE*"
    assert "QueryRetrieveLevel" not in asked


async def test_extended_negotiation_is_proposed_where_it_is_asked_for(peer: Peer) -> None:
    options = QueryOptions(relational=True, fuzzy=True)
    async with dicomwire.connect(peer.address, uses=["find", "get"], query_options=options) as association:
        answered = association.association.agreement.extended_negotiation
    assert "1.2.840.10008.5.1.4.1.2.2.1" in answered
    assert answered["1.2.840.10008.5.1.4.1.2.2.3"] == b"\1"


# C-GET


async def test_instances_come_over_the_same_association(client: Client, peer: Peer) -> None:
    for number in range(20):
        await keep(peer.archive, image(number, size=30_000))
    found = [instance async for instance in client.get(StudyInstanceUID=STUDY)]
    assert sorted(each.sop_instance_uid for each in found) == sorted(f"{SERIES}.{n}" for n in range(20))
    assert found[0].dataset().PixelData == bytes(30_000)
    assert found[0].length == len(found[0].part10())
    await client.echo()


async def test_few_classes_come_in_the_transfer_syntaxes_they_are_stored_in(
    client: Client, peer: Peer
) -> None:
    stored = {}
    for name in (
        "JPEG2000.dcm",
        "JPEG-lossy.dcm",
        "MR_small_RLE.dcm",
        "CT_small.dcm",
    ):
        delivery = await client.store(bundled(name))
        stored[delivery.instance.sop_instance_uid] = delivery.instance
    classes = list({each.sop_class_uid for each in stored.values()})
    async with dicomwire.connect(peer.address, uses=["find", "get"], storage=classes) as association:
        for uid, instance in stored.items():
            study = pydicom.dcmread(instance.name, stop_before_pixels=True).StudyInstanceUID
            got = {each.sop_instance_uid: each async for each in association.get(StudyInstanceUID=study)}
            assert got[uid].transfer_syntax_uid == instance.transfer_syntax_uid
            with instance.open() as data_set:
                assert got[uid].data_set() == data_set.view


async def test_a_large_instance_is_no_memory(client: Client, peer: Peer, tmp_path: Path) -> None:
    await keep(peer.archive, image(1, size=6_000_000))
    (instance,) = [instance async for instance in client.get(StudyInstanceUID=STUDY)]
    instance.save(tmp_path / "large.dcm")
    assert pydicom.dcmread(tmp_path / "large.dcm").PixelData == bytes(6_000_000)
    assert instance.open().read(132)[128:] == b"DICM"


async def test_leaving_early_cancels_and_the_association_lives_on(client: Client, peer: Peer) -> None:
    for number in range(30):
        await keep(peer.archive, image(number, size=1_000))
    getting = client.get(StudyInstanceUID=STUDY)
    await anext(getting)
    await getting.aclose()
    await client.echo()
    for _ in range(5):
        getting = client.get(StudyInstanceUID=STUDY)
        await anext(getting)
        await getting.aclose()
        uids = [each.sop_instance_uid async for each in client.get(StudyInstanceUID=STUDY)]
        assert len(uids) == len(set(uids)) == 30  # none that was under way for the one before


async def test_what_could_not_be_sent_is_raised_behind_the_rest(peer: Peer) -> None:
    await keep(peer.archive, image(1))
    await keep(peer.archive, image(2, sop_class=MR))
    async with dicomwire.connect(peer.address, uses=["get"], storage=[CT]) as association:
        getting = association.get(StudyInstanceUID=STUDY)
        assert (await anext(getting)).sop_instance_uid == f"{SERIES}.1"
        with pytest.raises(OperationFailed, match=f"1 instances were not sent.*{SERIES}.2"):
            await anext(getting)


async def test_what_is_not_common_comes_over_further_associations(
    client: Client, peer: Peer, tmp_path: Path
) -> None:
    spectacles, retired = "1.2.840.10008.5.1.4.1.1.78.6", "1.2.840.10008.5.1.4.1.1.5"
    for number, uid in enumerate((CT, spectacles, retired)):
        await keep(peer.archive, image(number, sop_class=uid))
    found = {each.sop_class_uid async for each in client.get(StudyInstanceUID=STUDY)}
    assert found == {CT, spectacles, retired}
    done = await client.get_files(tmp_path / "out", StudyInstanceUID=STUDY)
    assert done.complete
    assert (done.completed, done.failed, done.failed_sop_instance_uids) == (3, 0, ())
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3
    only = f"{SERIES}.1"
    names = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": only}
    assert [each.sop_instance_uid async for each in client.get(names)] == [only]


async def test_get_needs_names_of_what_it_gets(client: Client) -> None:
    with pytest.raises(QueryError, match="find it first"):
        _ = [_ async for _ in client.get(PatientName="DOE*")]


async def test_instances_become_files(client: Client, peer: Peer, tmp_path: Path) -> None:
    for number in range(3):
        await keep(peer.archive, image(number))
    written: list[Written] = []
    retrieval = client.get_files(tmp_path / "out", StudyInstanceUID=STUDY, report=written.append)
    steps = [step async for step in retrieval]
    assert steps[-1].complete
    assert steps[-1].completed == 3
    assert sorted(each.path for each in written) == sorted((tmp_path / "out").rglob("*.dcm"))
    assert {each.path.parent for each in written} == {tmp_path / "out" / STUDY / SERIES}
    assert pydicom.dcmread(written[0].path).StudyInstanceUID == STUDY


async def test_an_empty_retrieval_is_complete(client: Client, tmp_path: Path) -> None:
    done = await client.get_files(tmp_path / "out", StudyInstanceUID="1.2.3.4.5")
    assert done.complete
    assert not list((tmp_path / "out").iterdir())


async def test_a_second_get_goes_over_an_association_of_its_own(
    client: Client, peer: Peer, tmp_path: Path
) -> None:
    for number in range(12):
        await keep(peer.archive, image(number))
    first = client.get(StudyInstanceUID=STUDY)
    await anext(first)
    done = await client.get_files(tmp_path / "out", StudyInstanceUID=STUDY)
    assert done.completed == 12
    assert len([_ async for _ in first]) == 11
    assert len(peer.acceptor.associations) == 2


async def test_what_nobody_asked_for_is_not_taken(peer: Peer) -> None:
    arrived: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def push(request: Request) -> None:
        association = request.association
        context = next(each for each in association.contexts_for(CT) if each.scp_role)
        data = encoded(image(1), implicit=False)
        command = CStoreRq(0, CT, f"{SERIES}.1")
        response = await association.request(context.presentation_context_id, command, [data])
        arrived.set_result(response.status)
        request.respond(request.response(0))

    peer.acceptor.services = {**peer.acceptor.services, (VERIFICATION, CEchoRq): push}
    async with dicomwire.connect(peer.address) as association:
        await association.echo()
    assert await arrived == 0xA700


# C-MOVE


async def test_a_move_tells_how_far_it_is(client: Client, peer: Peer) -> None:
    for number in range(4):
        await keep(peer.archive, image(number))
    receiver = Receiver()
    async with listening(receiver.services()) as there:
        peer.destinations["RECEIVER"] = destination(there.port)
        done = await client.move("RECEIVER", StudyInstanceUID=STUDY)
        steps = [step async for step in client.move("RECEIVER", StudyInstanceUID=STUDY)]
    assert done.complete
    assert done.completed == 4
    assert [step.remaining for step in steps][:2] == [4, 3]
    assert steps[-1].final


async def test_a_move_to_nowhere_is_raised(client: Client, peer: Peer) -> None:
    await keep(peer.archive, image(1))
    with pytest.raises(OperationFailed, match="A801H") as raised:
        await client.move("NOBODY", StudyInstanceUID=STUDY)
    assert raised.value.status == 0xA801
    await client.echo()


# C-STORE


async def test_files_bytes_and_data_sets_are_stored(client: Client, peer: Peer) -> None:
    path = bundled("CT_small.dcm")
    delivery = await client.store(path)
    assert delivery.outcome is Outcome.STORED
    await client.store(path.read_bytes())
    data = pydicom.dcmread(path)
    data.SOPInstanceUID = "1.2.3.9"
    await client.store(data)
    await client.store(image(5))
    stored = [each async for each in client.get(StudyInstanceUID=data.StudyInstanceUID)]
    assert {each.sop_instance_uid for each in stored} >= {"1.2.3.9"}
    assert (await client.store(path)).transfer_syntax_uid == data.file_meta.TransferSyntaxUID


async def test_a_folder_is_stored_with_all_that_is_in_it(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("CT_small.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm"):
        shutil.copy(bundled(name), folder)
    (folder / "notes.txt").write_text("nothing of ours")
    told: list[Delivery] = []
    deliveries = await client.store_all([folder], told.append)
    assert deliveries == told
    assert [each.outcome for each in deliveries] == [Outcome.STORED] * 3


async def test_what_is_nothing_to_store_is_refused(client: Client, tmp_path: Path) -> None:
    (tmp_path / "no.dcm").write_text("no")
    for thing in (tmp_path / "no.dcm", tmp_path / "absent", b"no", Dataset()):
        with pytest.raises(LocalProtocolError):
            await client.store(thing)


async def test_a_refusal_is_raised(client: Client) -> None:
    wrong = image(1, sop_class="1.2.3.4")
    with pytest.raises(dicomwire.DicomwireError, match="not accepted"):
        await client.store(wrong)


# DIMSE-N


async def test_every_normalized_service_has_its_call(peer: Peer) -> None:
    options = dicomwire.RequestorOptions(roles=(RoleSelection(MPPS, True, True),))
    data = answer(PatientID="7")
    async with dicomwire.connect(peer.address, uses=[], contexts=[MPPS], options=options) as association:
        made = await association.n_create(MPPS, None, data)
        await association.n_set(MPPS, "1.2", data)
        got = await association.n_get(MPPS, "1.2", ["PatientID"])
        await association.n_action(MPPS, "1.2", 1, data)
        await association.n_action(MPPS, "1.2", 2)
        await association.n_event_report(MPPS, "1.2", 1)
        await association.n_delete(MPPS, "1.2")
    assert made.command.affected_sop_instance_uid == "1.2.3.4.5"
    assert got.PatientID == "7"
    kinds = [type(each) for each in peer.steps.asked]
    assert kinds == [NCreateRq, NSetRq, NGetRq, NActionRq, NActionRq, NEventReportRq, NDeleteRq]
    assert [each.PatientID for each in peer.steps.data] == ["7"] * 3


async def test_a_failure_of_a_normalized_service_is_raised(peer: Peer) -> None:
    peer.steps.status = 0x0112
    async with dicomwire.connect(peer.address, uses=[], contexts=[MPPS]) as association:
        with pytest.raises(OperationFailed, match="0112H"):
            await association.n_delete(MPPS, "1.2")
        with pytest.raises(NoAcceptedContext):
            await association.n_delete(CT, "1.2")


# Blocking


async def test_the_blocking_twin_does_the_same(peer: Peer, tmp_path: Path) -> None:
    for number in range(6):
        await keep(peer.archive, image(number))
    peer.finder.answers = [answer(PatientID="1")]
    async with listening(Receiver().services()) as there:
        peer.destinations["RECEIVER"] = destination(there.port)
        await asyncio.to_thread(use_all, peer.address, tmp_path)
    kinds = [type(each) for each in peer.steps.asked]
    assert kinds == [NCreateRq, NSetRq, NGetRq, NActionRq, NEventReportRq, NDeleteRq]


def use_all(address: str, folder: Path) -> None:
    options = dicomwire.RequestorOptions(roles=(RoleSelection(MPPS, True, True),))
    path = bundled("CT_small.dcm")
    with dicomwire.connect_blocking(address, contexts=[MPPS], options=options) as association:
        association.echo()
        assert [each.PatientID for each in association.find(PatientName="DOE*")] == ["1"]
        assert [each.status for each in association.matches()] == [0xFF00]
        assert len(list(association.worklist())) == 1
        assert len(list(association.get(StudyInstanceUID=STUDY))) == 6
        getting = association.get(StudyInstanceUID=STUDY)
        next(getting)
        getting.close()  # type: ignore[attr-defined]
        written: list[Written] = []
        done = association.get_files(folder / "out", StudyInstanceUID=STUDY, report=written.append)
        assert done.completed == len(written) == 6
        steps: list[int | None] = []
        moved = association.move(
            "RECEIVER", StudyInstanceUID=STUDY, report=lambda step: steps.append(step.remaining)
        )
        assert moved.complete
        assert steps[0] == 6
        assert association.store(path).outcome is Outcome.STORED
        assert len(association.store_all([path])) == 1
        association.n_create(MPPS)
        association.n_set(MPPS, "1.2", answer(PatientID="7"))
        assert association.n_get(MPPS, "1.2").PatientID == "7"
        association.n_action(MPPS, "1.2", 1)
        association.n_event_report(MPPS, "1.2", 1)
        association.n_delete(MPPS, "1.2")
        association.release()
    with pytest.raises(QueryError), dicomwire.connect_blocking(address) as association:
        list(association.find(Nonsense="x"))
    with dicomwire.connect_blocking(address, uses=["find"]) as association:
        left = association.find(PatientName="DOE*")
        next(left)
    left.close()  # type: ignore[attr-defined]  # as when it is garbage, long after the client's end
    with dicomwire.connect_blocking(address, uses=["echo"]) as association:
        association.abort()


async def test_the_blocking_twin_works_where_a_loop_runs(tmp_path: Path, peer: Peer) -> None:
    # As in a notebook: the calling thread has a running loop, which must not be needed for the answer.
    def cell() -> None:
        async def inner() -> None:
            with dicomwire.connect_blocking(peer.address, uses=["echo"]) as association:
                association.echo()

        asyncio.run(inner())

    await asyncio.to_thread(cell)


def test_a_peer_that_is_not_there_is_raised_by_both() -> None:
    async def call() -> None:
        async with dicomwire.connect("X@127.0.0.1:1"):
            pass

    with pytest.raises(dicomwire.DicomwireError, match="refuses connections"):
        asyncio.run(call())
    with (
        pytest.raises(dicomwire.DicomwireError, match="refuses connections"),
        dicomwire.connect_blocking("X@127.0.0.1:1"),
    ):
        pass
