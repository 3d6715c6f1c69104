"""WADO-RS: rendered resources and thumbnails (PS3.18 10.4.1.1.3, 10.4.1.1.4, 8.3.5, 8.7.4).

The media type of each part is chosen for what it is of: image, video, report, document (8.7.8.1). Pictures
are made by worker processes, a few ahead of the client. A rendered presentation state is the image that it
refers to, as the state has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import structlog
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from dicomwire.archive.archive import Archive, Stored
from dicomwire.archive.transcoder import Spooled, Transcoder
from dicomwire.dicom.rendering import PROFILED, Rendering, Viewport
from dicomwire.errors import TranscodingError, WorkersBusy
from dicomwire.web.awaited import AsyncChunks, AwaitedResponse, ahead, pieces_of
from dicomwire.web.conditional import entity_tag, not_modified
from dicomwire.web.documents import (
    Document,
    Documents,
    document_types,
    in_parts,
    is_taken,
    leaves_as_film,
)
from dicomwire.web.frames import frame_numbers
from dicomwire.web.media_types import Accept, accept_of, not_acceptable
from dicomwire.web.multipart import PartWriter
from dicomwire.web.options import WebOptions
from dicomwire.web.parameters import check_once
from dicomwire.web.pictures import (
    PRESENTATION_STATES,
    Form,
    Picture,
    choose_form,
    is_image,
    is_video,
    offered,
    referenced,
    whole,
)
from dicomwire.web.plans import instance_url_of, planned
from dicomwire.web.problems import Problem, shown
from dicomwire.web.rendering_parameters import rendering_of, unsupported_annotations, viewport_of
from dicomwire.web.resources import base_url
from dicomwire.web.responses import StreamedResponse
from dicomwire.web.warning import warning_header

log = structlog.get_logger()

_AHEAD: Final = 4  # pictures under way at once for one client
_THUMBNAIL: Final = Viewport(256, 256, enlarges=False)  # where the client asks for no size (PS3.18 8.3.5.2)


class Rendered:
    """Endpoint of GET on .../rendered of studies, series, instances and frames."""

    def __init__(self, archive: Archive, options: WebOptions, transcoder: Transcoder) -> None:
        self._archive = archive
        self._options = options
        self._transcoder = transcoder
        self._documents = Documents(archive)

    async def __call__(self, request: Request) -> Response:
        rendering = rendering_of(request.query_params)
        frames: tuple[int, ...] | None = None
        if "frames" in request.path_params:
            frames = tuple(frame_numbers(request.path_params["frames"]))
        plan = planned(request, self._archive)
        if _is_state(plan):
            _check_state(request.query_params, rendering)
        warnings = unsupported_annotations(request.query_params)
        return await self.answer(request, plan, self._images(plan), rendering, frames, warnings)

    async def answer(
        self,
        request: Request,
        plan: Sequence[Stored],
        images: Sequence[Picture],
        rendering: Rendering,
        frames: tuple[int, ...] | None,
        unsupported: Sequence[str] = (),
    ) -> Response:
        """Pictures of images, in the form that the request's Accept chooses; a document where it is one.

        plan: all that the pictures are made of. frames: numbers, None for all.
        unsupported: annotations that were asked for and cannot be written.
        """
        accept = accept_of(request)
        images, documents = _divided(accept, plan, images, frames)
        base = base_url(request, self._options)
        if not images and len(documents) == 1:
            return await self._documents.answer(request, documents[0], base)
        parts = self._documents.accepted(accept, documents)
        form = choose_form(accept, images, frames=frames, apart=bool(parts)) if images else None
        if form is None and not parts:
            return await self._alone(request, accept, images, documents, frames)
        if form is not None:
            _check(form, rendering)
            rendering = replace(rendering, media_type=form.media_type, animated=form.animated)
        pictures = form.pictures if form is not None else ()
        tag = entity_tag(
            [*(picture.stored for picture in pictures), *plan],
            repr((form is None or form.multipart, parts)),
            repr(rendering),
            base,
        )
        if (unchanged := not_modified(request, tag)) is not None:
            return unchanged
        headers = {"ETag": tag}
        if unsupported:
            words = f"The following annotation values are not supported: {', '.join(unsupported)}"
            headers |= warning_header([words])
        if form is not None and not form.multipart:
            return await self._single(form.pictures[0], rendering, headers)
        writer = PartWriter(form.media_type if form is not None else parts[0].media_type)
        chunks = self._parts(pictures, parts, rendering, writer, base)
        return AwaitedResponse(chunks, content_type=writer.content_type, headers=headers)

    async def _alone(
        self,
        request: Request,
        accept: Accept,
        images: Sequence[Picture],
        documents: Sequence[Stored],
        frames: tuple[int, ...] | None,
    ) -> Response:
        """The only document among others that is in a media type which the client takes as a single part.

        Raises: Problem 406, where there is none, or more than one.
        """
        fitting = [stored for stored in documents if is_taken(accept, stored)]
        if len(fitting) == 1:
            return await self._documents.answer(request, fitting[0], base_url(request, self._options))
        if not images and not documents:
            raise Problem(406, "there is nothing in it that can be rendered: no image, report or document")
        types = dict.fromkeys(each for stored in documents for each in document_types(stored))
        raise not_acceptable(accept, [*(offered(images, frames) if images else ()), *in_parts(types)])

    def _images(self, plan: Sequence[Stored]) -> list[Picture]:
        """The images of a plan with all their frames; for one presentation state those that it is for."""
        if _is_state(plan):
            return referenced(self._archive, plan[0])
        return [whole(stored) for stored in plan if is_image(stored)]

    async def _single(self, picture: Picture, rendering: Rendering, headers: dict[str, str]) -> Response:
        body = await self._render(picture, rendering)
        return StreamedResponse(
            pieces_of(body), content_type=rendering.media_type, length=len(body), headers=headers
        )

    async def _render(self, picture: Picture, rendering: Rendering) -> bytearray | Spooled:
        """Raises: Problem 406, when the image cannot be decoded; 503, when too many wait."""
        try:
            return await self._transcoder.render(
                picture.stored, picture.numbers, rendering, state=picture.state
            )
        except TranscodingError as error:
            raise Problem(406, f"the image cannot be rendered: {error}") from None
        except WorkersBusy as error:
            raise Problem(503, str(error), {"Retry-After": "5"}) from None

    async def _parts(
        self,
        pictures: Sequence[Picture],
        documents: Sequence[Document],
        rendering: Rendering,
        writer: PartWriter,
        base: str,
    ) -> AsyncChunks:
        """A part for each; those that cannot be made are left out, unless it is all of them."""

        async def made(picture: Picture) -> bytearray | Spooled | Problem:
            one = replace(rendering, animated=len(picture.numbers) > 1)
            try:
                return await self._render(picture, one)
            except Problem as problem:
                return problem

        sent = False
        failed: Problem | None = None
        async with aclosing(ahead(made, pictures, _AHEAD)) as results:
            remaining = iter(pictures)
            async for result in results:
                picture = next(remaining)
                if isinstance(result, Problem):
                    failed = result
                    log.warning("web.not_rendered", record=picture.stored.record_id, error=result.detail)
                    continue
                sent = True
                location = _location(base, picture)
                yield writer.head(rendering.media_type, length=len(result), location=location)
                for piece in pieces_of(result):
                    yield piece
        for document in documents:
            try:
                chunks = await self._documents.part(document, writer, base)
            except Problem as problem:
                failed = problem
                log.warning("web.not_rendered", record=document.stored.record_id, error=problem.detail)
                continue
            sent = True
            for chunk in chunks:
                yield chunk
        if failed is not None and not sent:
            raise failed
        yield writer.tail


class Thumbnail(Rendered):
    """Endpoint of GET on .../thumbnail: the image in the middle, small."""

    async def __call__(self, request: Request) -> Response:
        check_once(request.query_params, ("viewport",))
        viewport = viewport_of(request.query_params.get("viewport")) or _THUMBNAIL
        _check_whole(viewport, "a thumbnail")
        accept = accept_of(request)
        images = self._images(planned(request, self._archive))
        if not images:
            raise Problem(404, "there is no image to make a thumbnail of")
        ones = _from_the_middle(images)
        chosen = "frames" in request.path_params or images[0].state is not None
        if "frames" in request.path_params:
            numbers = tuple(frame_numbers(request.path_params["frames"]))[:1]
            ones = [replace(images[0], numbers=numbers)]
        form = choose_form(accept, ones[:1])
        if form is None or form.multipart:
            raise not_acceptable(accept, offered(ones[:1], None)[:5])
        rendering = Rendering(
            media_type=form.media_type, viewport=viewport, representative=not chosen, fitted=True
        )
        failures: list[Problem] = []
        for one in ones:
            tag = entity_tag([one.stored], repr(one.numbers), repr(rendering))
            if (unchanged := not_modified(request, tag)) is not None:
                return unchanged
            try:
                _check_numbers([one])
                return await self._single(one, rendering, {"ETag": tag})
            except Problem as problem:
                if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
                    raise
                log.warning("web.not_rendered", record=one.stored.record_id, error=problem.detail)
                failures.append(problem)
        raise failures[0]


def _from_the_middle(images: Sequence[Picture]) -> list[Picture]:
    """The middle frame of the image in the middle, then of those beside it, should it not be readable."""
    middle = len(images) // 2
    found = [images[place] for place in (middle, middle - 1, middle + 1) if 0 <= place < len(images)]
    return [replace(image, numbers=image.numbers[len(image.numbers) // 2 :][:1]) for image in found]


def _divided(
    accept: Accept, plan: Sequence[Stored], images: Sequence[Picture], frames: tuple[int, ...] | None
) -> tuple[Sequence[Picture], list[Stored]]:
    """The images and the documents of a plan; a video is one or the other, its listed frames are images."""
    if frames is not None:
        return images, []
    alone = len(plan) == 1
    stills = {
        image.stored.record_id
        for image in images
        if is_video(image.stored)
        and (image.state is not None or not leaves_as_film(accept, image.stored, alone=alone))
    }
    return (
        [image for image in images if not is_video(image.stored) or image.stored.record_id in stills],
        [stored for stored in plan if document_types(stored) and stored.record_id not in stills],
    )


def _is_state(plan: Sequence[Stored]) -> bool:
    return len(plan) == 1 and plan[0].sop_class_uid in PRESENTATION_STATES


def _check_state(query: QueryParams, rendering: Rendering) -> None:
    """Raises: Problem 400, for what a presentation state says itself (PS3.18 8.3.5.1.3, 8.3.5.1.4)."""
    if rendering.window is not None:
        raise Problem(400, f"window is {shown(query.get('window', ''))}; a presentation state has its own")
    if rendering.viewport is not None:
        _check_whole(rendering.viewport, "a presentation state")


def _check_whole(viewport: Viewport, what: str) -> None:
    if viewport != Viewport(viewport.width, viewport.height, enlarges=viewport.enlarges):
        raise Problem(400, f"viewport of {what} has a region; its width and height are all that it can have")


def _check(form: Form, rendering: Rendering) -> None:
    """Raises: Problem 404, 400."""
    _check_numbers(form.pictures)
    _check_viewport(form, rendering.viewport)
    if rendering.icc_profile != "no" and form.media_type not in PROFILED:
        carriers = ", ".join(PROFILED)
        raise Problem(
            400, f"iccprofile is {rendering.icc_profile}; {form.media_type} carries none, {carriers} do"
        )


def _check_numbers(pictures: Sequence[Picture]) -> None:
    """Raises: Problem 404, when a frame does not exist."""
    for picture in pictures:
        count = picture.stored.number_of_frames
        if (highest := max(picture.numbers)) > count:
            raise Problem(404, f"there is no frame {highest}; the instance has {count}")


def _check_viewport(form: Form, viewport: Viewport | None) -> None:
    """Raises: Problem 400, when what is to be shown begins outside of every image."""
    if viewport is None or any(picture.state for picture in form.pictures):
        return  # a state turns and cuts images: only its result has a size
    sizes = {(picture.stored.columns or 0, picture.stored.rows or 0) for picture in form.pictures}
    if all(viewport.x >= columns or viewport.y >= rows for columns, rows in sizes):
        many = ", ".join(f"{columns} by {rows}" for columns, rows in sorted(sizes)[:5])
        raise Problem(400, f"viewport begins at {viewport.x:g},{viewport.y:g}; the image has {many} pixels")


def _location(base: str, picture: Picture) -> str:
    url = instance_url_of(base, picture.stored)
    if len(picture.numbers) == 1 and picture.stored.number_of_frames > 1:
        return f"{url}/frames/{picture.numbers[0]}/rendered"
    return f"{url}/rendered"
