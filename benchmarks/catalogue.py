"""A catalogue of many studies without their images, to search in: rows as ingest would have written them.

A study has one or two series, a series one or two instances; there are ten studies of a patient, of a day and
of a family name. The instances themselves are nowhere: they can be found and not retrieved. A million studies
take about 1.5 GB.
"""

from __future__ import annotations

import asyncio
import datetime
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import data
from dicomwire.archive.archive import Archive, ArchiveOptions, Origin
from dicomwire.archive.names import groups, vocabulary

VERSION = "1"  # of what this module makes: older folders are made again
TOGETHER = 10  # studies of one patient, of one day and of one family name
SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "ru", "sa", "te")
GIVEN = ("Anna", "Bert", "Carla", "Dirk", "Eva", "Frank", "Gabi", "Hans", "Ina", "Jan", "Kim", "Lea")
MODALITIES = ("CT", "MR", "CR", "US", "DX", "MG", "NM", "PT")
FIRST_DAY = datetime.date(1740, 1, 1)
BATCH = 10_000  # studies written in one transaction


def folder(studies: int, root: Path) -> Path:
    """The data folder of an archive with so many studies under `root`, made if it is not there yet."""
    made = root / f"catalogue-{studies}-{VERSION}"
    if made.exists():
        return made
    partial = made.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    asyncio.run(_with_one_instance(partial))
    _fill(partial / "catalogue.sqlite", studies)
    return partial.rename(made)


def patient_id(study: int) -> str:
    """Of the patient of a study."""
    return f"P{study // TOGETHER:07d}"


def name(study: int) -> str:
    """Of the patient of a study; there are 248,832 family names."""
    patient = study // TOGETHER
    syllables = [SYLLABLES[patient // 12**power % 12] for power in range(5)]
    return f"{''.join(syllables).capitalize()}^{GIVEN[patient % 12]}"


def date(study: int) -> str:
    """Of a study."""
    return (FIRST_DAY + datetime.timedelta(days=study // TOGETHER)).strftime("%Y%m%d")


def study_uid(study: int) -> str:
    return f"{data.ROOT}.77.{study}"


async def _with_one_instance(into: Path) -> None:
    archive = Archive.open(into, ArchiveOptions())
    archive.start(asyncio.get_running_loop())
    instance = data.make("small", 0)
    reception = archive.receive(
        sop_class_uid=instance.sop_class_uid,
        sop_instance_uid=instance.sop_instance_uid,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        origin=Origin("import", "benchmark"),
    )
    for piece in instance.data_set():
        reception.write(piece)
    done = asyncio.get_running_loop().create_future()
    reception.finish(done.set_result)
    await done
    await archive.stop()


def _fill(path: Path, studies: int) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -262144")
    (segment,) = connection.execute("SELECT id FROM segment").fetchone()
    (record_id,) = connection.execute("SELECT max(id) FROM instance").fetchone()
    for first in range(1, studies + 1, BATCH):
        numbers = range(first, min(first + BATCH, studies + 1))
        connection.execute("BEGIN")
        _insert(connection, "study", map(_study, numbers))
        _insert(connection, "series", (row for number in numbers for row in _series(number)))
        rows = [row for number in numbers for row in _instances(number, segment)]
        _insert(connection, "instance", ({"id": record_id + at, **row} for at, row in enumerate(rows, 1)))
        record_id += len(rows)
        connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[dict[str, object]]) -> None:
    first = next(rows)
    sql = f"INSERT INTO {table} ({', '.join(first)}) VALUES ({', '.join('?' * len(first))})"
    connection.execute(sql, tuple(first.values()))
    connection.executemany(sql, (tuple(row.values()) for row in rows))


def _counts(number: int) -> Sequence[int]:
    """Instances of each series of a study."""
    return ((1,), (2,), (1, 1), (2, 1))[number % 4]


def _study(number: int) -> dict[str, object]:
    counts, patient, day = _counts(number), name(number), date(number)
    alphabetic, ideographic, phonetic = groups(patient)
    modality = MODALITIES[number % len(MODALITIES)]
    texts = {
        "00080020": ("DA", day),
        "00080030": ("TM", "101530"),
        "00080050": ("SH", f"A{number:08d}"),
        "00081030": ("LO", f"Examination {number % 97}"),
        "00100020": ("LO", patient_id(number)),
        "00100030": ("DA", "19600401"),
        "00100040": ("CS", "F"),
        "0020000D": ("UI", study_uid(number)),
    }
    members = [f'"{tag}":{{"vr":"{vr}","Value":["{text}"]}}' for tag, (vr, text) in texts.items()]
    members.append(f'"00100010":{{"vr":"PN","Value":[{{"Alphabetic":"{patient}"}}]}}')
    return {
        "id": number + 1,
        "study_instance_uid": study_uid(number),
        "patient_id": patient_id(number),
        "issuer_of_patient_id": "HIS",
        "patient_name": patient,
        "patient_name_key": alphabetic,
        "patient_birth_date": "19600401",
        "patient_sex": "F",
        "study_date": day,
        "study_time": "101530",
        "accession_number": f"A{number:08d}",
        "referring_physician_name": "",
        "referring_physician_name_key": "",
        "study_id": str(number),
        "study_description": f"Examination {number % 97}",
        "character_set": "ISO_IR 100",
        "modalities": modality,
        "number_of_series": len(counts),
        "number_of_instances": sum(counts),
        "attributes": ",".join(members),
        "patient_name_ideographic": ideographic,
        "patient_name_phonetic": phonetic,
        "patient_name_words": vocabulary(patient),
    }


def _series(number: int) -> Iterator[dict[str, object]]:
    modality = MODALITIES[number % len(MODALITIES)]
    for at, count in enumerate(_counts(number), 1):
        yield {
            "id": number * 2 + at,
            "study": number + 1,
            "series_instance_uid": f"{study_uid(number)}.{at}",
            "modality": modality,
            "series_number": at,
            "series_description": f"Series {at}",
            "performed_procedure_step_start_date": date(number),
            "performed_procedure_step_start_time": "101530",
            "number_of_instances": count,
            "attributes": f'"00080060":{{"vr":"CS","Value":["{modality}"]}}',
        }


def _instances(number: int, segment: int) -> Iterator[dict[str, object]]:
    for at, count in enumerate(_counts(number), 1):
        for instance in range(1, count + 1):
            yield {
                "series": number * 2 + at,
                "sop_instance_uid": f"{study_uid(number)}.{at}.{instance}",
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "instance_number": instance,
                "rows": 512,
                "columns": 512,
                "bits_allocated": 16,
                "samples_per_pixel": 1,
                "current": 1,
                "segment": segment,
                "offset": 0,
                "length": 0,
                "data_set_offset": 0,
                "crc": 0,
            }
