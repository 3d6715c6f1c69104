"""Synthetic instances to measure with: CT images of 525 KB and 10 KB, multi-frame CT of 200 MB and of 4 GB.

Headers are as long as real ones (100 elements, nested sequences, private elements), pixel data is noise, UIDs
are unique and the same on every run. Files are made once in a folder and used again; the instance of 4 GB
never lies on disk, its pixel data is one block over and over.
"""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT = "2.25.7219042853"  # under which all UIDs of the benchmark lie
BLOCK = 1 << 20  # bytes of noise that large pixel data repeats
INDEX = "lengths.json"  # beside the files: the lengths of each file's meta and header
IDENTITY = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]
VERSION = "1"  # of what this module makes: older folders are made again


@dataclass(frozen=True, slots=True)
class DataSet:
    """One set of like instances: how many, of which size, in how many studies and series."""

    name: str
    count: int
    rows: int
    frames: int
    studies: int
    series: int  # per study

    @property
    def pixel_data_length(self) -> int:
        """Bytes of pixel data of one instance."""
        return self.rows * self.rows * 2 * self.frames


DATA_SETS = {
    each.name: each
    for each in (
        DataSet("ct", count=500, rows=512, frames=1, studies=1, series=2),
        DataSet("small", count=2000, rows=64, frames=1, studies=20, series=2),
        DataSet("large", count=3, rows=512, frames=382, studies=1, series=1),
        DataSet("huge", count=1, rows=512, frames=7630, studies=1, series=1),
    )
}


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance ready to be sent: its identity, and its data set's encoded header and pixel data.

    The data set is `header`, then `block` repeated until `length` bytes are reached.
    """

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    file_meta: bytes
    header: bytes
    block: bytes
    length: int

    def data_set(self) -> Iterator[memoryview]:
        """The data set's bytes in order, in pieces of at most 1 MiB or of the header's length."""
        yield memoryview(self.header)
        remaining = self.length - len(self.header)
        while remaining:
            piece = memoryview(self.block)[:remaining]
            yield piece
            remaining -= len(piece)

    def part10(self) -> Iterator[memoryview]:
        """The bytes of the Part 10 file: preamble and file meta, then the data set."""
        yield memoryview(self.file_meta)
        yield from self.data_set()


def folder(name: str, root: Path) -> Path:
    """The folder of the set's Part 10 files under `root`, made if it is not there yet."""
    made = root / f"{name}-{VERSION}"
    if made.exists():
        return made
    partial = made.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    lengths = []
    for index in range(DATA_SETS[name].count):
        instance = make(name, index)
        lengths.append([len(instance.file_meta), len(instance.header)])
        with (partial / f"{index:05d}.dcm").open("wb") as file:
            file.writelines(instance.part10())
    (partial / INDEX).write_text(json.dumps(lengths))
    return partial.rename(made)


def load(name: str, root: Path, count: int | None = None) -> list[Instance]:
    """The first `count` instances of the set, all of them by default, from its folder under `root`."""
    made = folder(name, root)
    lengths = json.loads((made / INDEX).read_text())
    return [_read(made / f"{index:05d}.dcm", *lengths[index]) for index in range(len(lengths))[:count]]


def _read(path: Path, meta_length: int, header_length: int) -> Instance:
    with path.open("rb") as file:
        start = file.read(meta_length + header_length)
        block = file.read(BLOCK)
    data = pydicom.dcmread(io.BytesIO(start), stop_before_pixels=True, specific_tags=IDENTITY)
    return Instance(
        sop_class_uid=data.SOPClassUID,
        sop_instance_uid=data.SOPInstanceUID,
        study_instance_uid=data.StudyInstanceUID,
        series_instance_uid=data.SeriesInstanceUID,
        file_meta=start[:meta_length],
        header=start[meta_length:],
        block=block,
        length=path.stat().st_size - meta_length,
    )


def make(name: str, index: int) -> Instance:
    """Instance `index` of the set, the same one at every call."""
    described = DATA_SETS[name]
    per_study = described.count // described.studies
    study = index // per_study
    series = index % per_study * described.series // per_study
    data = _header(described, study, series, index)
    noise = random.Random(f"{described.name} {index}")
    pixels = described.pixel_data_length
    block = noise.randbytes(min(pixels, BLOCK))
    preamble_and_meta, header = _encode(data)
    header += b"\xe0\x7f\x10\x00OW\x00\x00" + pixels.to_bytes(4, "little")
    return Instance(
        sop_class_uid=data.SOPClassUID,
        sop_instance_uid=data.SOPInstanceUID,
        study_instance_uid=data.StudyInstanceUID,
        series_instance_uid=data.SeriesInstanceUID,
        file_meta=preamble_and_meta,
        header=header,
        block=block,
        length=len(header) + pixels,
    )


def _encode(data: Dataset) -> tuple[bytes, bytes]:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    written = io.BytesIO()
    empty = FileDataset(written, Dataset(), file_meta=meta, preamble=bytes(128))
    empty.save_as(written, enforce_file_format=True)
    whole = io.BytesIO()
    FileDataset(whole, data, file_meta=meta, preamble=bytes(128)).save_as(whole, enforce_file_format=True)
    meta_length = len(written.getvalue())
    return whole.getvalue()[:meta_length], whole.getvalue()[meta_length:]


def _header(described: DataSet, study: int, series: int, index: int) -> Dataset:
    """Everything before the pixel data: a thorax CT as a scanner of the 2010s writes it."""
    set_number = list(DATA_SETS).index(described.name) + 1
    study_uid = f"{ROOT}.{set_number}.{study + 1}"
    series_uid = f"{study_uid}.{series + 1}"
    uid = f"{series_uid}.{index + 1}"
    multi_frame = described.frames > 1
    data = Dataset()
    for keyword, value in {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SPI"],
        "InstanceCreationDate": "20240311",
        "InstanceCreationTime": f"{101500 + index % 40}.{index:06d}",
        "SOPClassUID": EnhancedCTImageStorage if multi_frame else CTImageStorage,
        "SOPInstanceUID": uid,
        "StudyDate": f"202403{study % 28 + 1:02d}",
        "SeriesDate": "20240311",
        "AcquisitionDate": "20240311",
        "ContentDate": "20240311",
        "AcquisitionDateTime": f"202403111015{index % 60:02d}.250000",
        "StudyTime": "101200.125000",
        "SeriesTime": f"1014{series:02d}.500000",
        "AcquisitionTime": f"1015{index % 60:02d}.250000",
        "ContentTime": f"1015{index % 60:02d}.375000",
        "AccessionNumber": f"ACC{set_number:02d}{study:06d}",
        "Modality": "CT",
        "Manufacturer": "Synthetic Imaging",
        "InstitutionName": "Sankt-Lukas-Krankenhaus München",
        "InstitutionAddress": "Musterstraße 12, 80331 München, Deutschland",
        "ReferringPhysicianName": "Überweiser^Ursula^^Dr.",
        "StationName": "CTAWP76543",
        "StudyDescription": "Thorax^1_Thorax_Routine (Erwachsener)",
        "SeriesDescription": f"Thorax 1.0 B{30 + series * 20}f {series + 1}",
        "InstitutionalDepartmentName": "Radiologie",
        "PhysiciansOfRecord": "Stationsarzt^Stefan",
        "PerformingPhysicianName": "Radiologe^Rita",
        "OperatorsName": "MTRA^Martina",
        "ManufacturerModelName": "Sensation 64",
        "PatientName": f"Muster{study:04d}^Maria",
        "PatientID": f"PID{set_number:02d}{study:06d}",
        "IssuerOfPatientID": "HIS",
        "PatientBirthDate": f"19{50 + study % 40}0704",
        "PatientSex": "F",
        "PatientAge": f"{74 - study % 40:03d}Y",
        "PatientSize": "1.68",
        "PatientWeight": "68.5",
        "BodyPartExamined": "CHEST",
        "SliceThickness": "1",
        "KVP": "120",
        "DataCollectionDiameter": "500",
        "DeviceSerialNumber": "54321",
        "SoftwareVersions": "syngo CT 2012B",
        "ProtocolName": "1_Thorax_Routine",
        "ReconstructionDiameter": "343",
        "DistanceSourceToDetector": "1040",
        "DistanceSourceToPatient": "570",
        "GantryDetectorTilt": "0",
        "TableHeight": "155",
        "RotationDirection": "CW",
        "ExposureTime": "500",
        "XRayTubeCurrent": str(180 + index % 60),
        "Exposure": str(90 + index % 30),
        "FilterType": "0",
        "GeneratorPower": "31",
        "FocalSpots": "1.2",
        "DateOfLastCalibration": "20240311",
        "TimeOfLastCalibration": "070215.000000",
        "ConvolutionKernel": f"B{30 + series * 20}f",
        "PatientPosition": "HFS",
        "ExposureModulationType": "XYZ_EC",
        "EstimatedDoseSaving": -22.5,
        "CTDIvol": 6.31,
        "StudyInstanceUID": study_uid,
        "SeriesInstanceUID": series_uid,
        "StudyID": str(study + 1),
        "SeriesNumber": str(series + 1),
        "AcquisitionNumber": "3",
        "InstanceNumber": str(index + 1),
        "ImagePositionPatient": ["-171.162109375", "-321.662109375", f"{-80.5 - index:.3f}"],
        "ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"],
        "FrameOfReferenceUID": f"{study_uid}.0.1",
        "PositionReferenceIndicator": "",
        "SliceLocation": f"{-80.5 - index:.3f}",
        "ImageComments": "",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": described.rows,
        "Columns": described.rows,
        "PixelSpacing": ["0.669921875", "0.669921875"],
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "SmallestImagePixelValue": 0,
        "LargestImagePixelValue": 4095,
        "WindowCenter": ["-600", "50"],
        "WindowWidth": ["1200", "350"],
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "WindowCenterWidthExplanation": ["WINDOW1", "WINDOW2"],
        "RequestingPhysician": "Anforderer^Anton",
        "RequestedProcedureDescription": "CT Thorax mit Kontrastmittel",
        "PerformedProcedureStepStartDate": "20240311",
        "PerformedProcedureStepStartTime": "101200.125000",
        "PerformedProcedureStepID": f"SPS{study:06d}",
        "PerformedProcedureStepDescription": "1_Thorax_Routine",
    }.items():
        setattr(data, keyword, value)
    if multi_frame:
        data.NumberOfFrames = described.frames
    data.ProcedureCodeSequence = Sequence([_code("CTTHKM", "99KIS", "CT Thorax mit Kontrastmittel")])
    request = Dataset()
    request.RequestedProcedureID = f"RP{study:06d}"
    request.ScheduledProcedureStepID = f"SPS{study:06d}"
    request.ScheduledProcedureStepDescription = "CT Thorax mit Kontrastmittel"
    request.ScheduledProtocolCodeSequence = Sequence([_code("THROUT", "99KIS", "Thorax Routine")])
    data.RequestAttributesSequence = Sequence([request])
    data.ReferencedImageSequence = Sequence([_reference(f"{study_uid}.9.{n}") for n in range(2)])
    private = data.private_block(0x0019, "SIEMENS CT VA0  COAD", create=True)
    private.add_new(0x90, "DS", "1.3")
    private.add_new(0x92, "OB", bytes(range(64)))
    private.add_new(0xB0, "US", index % 65536)
    return data


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = scheme
    code.CodeMeaning = meaning
    return code


def _reference(sop_instance_uid: str) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = CTImageStorage
    reference.ReferencedSOPInstanceUID = sop_instance_uid
    return reference
