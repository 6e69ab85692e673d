from collections.abc import Callable, Sequence
from typing import Any, cast

from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from analytics import csv_rows
from analytics.activity import datasets, storage
from analytics.activity.events import intake
from analytics.activity.events.intake import is_text
from analytics.activity.filters import BlogFilter, PostFilter
from analytics.activity.models import Blog, BlogQuerySet, Post, PostQuerySet
from analytics.activity.serializers import (
    BEGINNING,
    BlogSerializer,
    ListedBlogSerializer,
    ListedPostSerializer,
    PostChangeSerializer,
    PostSerializer,
)
from devices.api import DONE_EXAMPLE
from devices.ingestion.api import AlwaysJSON, RawJSON
from devices.ingestion.decoding import MAX_ITEMS, BatchTooLong
from devices.readings_api import asked_period
from devices.timeline.periods import Period
from users.api_errors import TooLarge
from users.models import User
from users.permissions import signed_in
from users.serializers import component, component_list

DATASET: dict[str, Any] = {
    "parameters": [
        OpenApiParameter(
            "login",
            {"type": "string", "minLength": 1},
            required=True,
            description="The person's exact login.",
        ),
        OpenApiParameter("start", OpenApiTypes.DATE, description="First day, in the portal's time zone."),
        OpenApiParameter("end", OpenApiTypes.DATE, description="Day after the last one, after `start`."),
        OpenApiParameter("format", str, enum=["json", "csv"], description="`json` if left out."),
    ],
}
COMMENTS = {"user_login": "ada", "post_header": "Frost", "post_author_login": "grace", "total_comments": 3}
GENERAL = {"date": "2026-11-21", "logins": 2, "logouts": 1, "blog_actions": 4}
EVENT = {"login": "ada", "event": "comment", "at": "2026-11-21T10:31:00+01:00", "object_id": 12, "id": "a-1"}

Build = Callable[[User, Period], list[datasets.Row]]


class DatasetView(APIView):
    """A dataset of one person. One whom the caller may not see gets no rows, as an unknown one does."""

    # REST framework would read `format` itself, and answer an unknown one by 404.
    content_negotiation_class = AlwaysJSON
    query_parameters = ("login", "start", "end", "format")

    def answer(self, request: Request, name: str, columns: Sequence[str], build: Build) -> HttpResponse:
        query = request.query_params
        login, format_name = query.get("login", ""), query.get("format", "json")
        if not login:
            raise ValidationError({"login": "Is missing."})
        if format_name not in ("json", "csv"):
            raise ValidationError({"format": "Must be json or csv."})
        period = asked_period(request, timezone.get_default_timezone())
        users = User.objects.visible_to(request.user)
        user = users.filter(login=login).first() if is_text(login) else None
        rows = build(user, period) if user else []
        if format_name == "json":
            return Response({"status": "ok", "data": rows})
        return csv_file(name, columns, rows)


class Comments(DatasetView):
    @extend_schema(
        operation_id="comments_dataset",
        responses={
            (200, "application/json"): component("CommentsDataset"),
            (200, "text/csv"): OpenApiTypes.STR,
        },
        examples=[
            OpenApiExample("Rows", {"status": "ok", "data": [COMMENTS]}, media_type="application/json")
        ],
        **DATASET,
    )
    def get(self, request: Request) -> HttpResponse:
        """How often a person commented each post.

        A row for each post, one's own included: most comments first, then by the post's id. A deleted post
        has null for header and author. An unknown login has no rows.
        """
        return self.answer(request, "comments", datasets.COMMENTS, datasets.comments)


class General(DatasetView):
    @extend_schema(
        operation_id="general_dataset",
        responses={
            (200, "application/json"): component("GeneralDataset"),
            (200, "text/csv"): OpenApiTypes.STR,
        },
        examples=[OpenApiExample("Rows", {"status": "ok", "data": [GENERAL]}, media_type="application/json")],
        **DATASET,
    )
    def get(self, request: Request) -> HttpResponse:
        """What a person did on each active day.

        Days are those of the portal's time zone, ascending. A comment is not a blog action: a day with
        comments only is a row of zeros. An unknown login has no rows.
        """
        return self.answer(request, "general", datasets.GENERAL, datasets.general)


def csv_file(name: str, columns: Sequence[str], rows: list[datasets.Row]) -> HttpResponse:
    response = HttpResponse(csv_rows.lines(columns, rows), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


class Activity(APIView):
    parser_classes = (RawJSON,)
    content_negotiation_class = AlwaysJSON
    query_parameters = ()

    @extend_schema(
        operation_id="activity_create",
        request={"application/json": component_list("Event") | {"maxItems": MAX_ITEMS}},
        responses={201: component("Receipt")},
        examples=[
            OpenApiExample("Events", [EVENT], request_only=True),
            OpenApiExample(
                "Receipt",
                {
                    "accepted": 1,
                    "rejected": [{"index": 1, "message": "login: There is no such user."}],
                },
                response_only=True,
                status_codes=["201"],
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        """Post up to 10,000 events.

        Valid events are stored; the receipt names the others. `object_id` is the post of a comment, or the
        blog of a create_post or delete_post. An event that is posted again with the same `id` is accepted and
        stored once. A stamp without an offset is read in UTC, and the receipt says so. The answer is sent
        after the commit.
        """
        try:
            body = cast(bytes, request.data or b"")  # from RawJSON
            taken = intake.take_events(body, signed_in(request))
        except BatchTooLong as error:
            raise TooLarge(str(error)) from error
        storage.current().append(taken.events)
        return Response(taken.receipt, status=201)


class BlogList(generics.ListCreateAPIView):
    serializer_class = BlogSerializer
    filterset_class = BlogFilter
    query_parameters = ()

    def get_queryset(self) -> Any:
        visible = Blog.objects.visible_to(self.request.user).select_related("owner")
        return visible.for_list(BEGINNING)

    def get_serializer_class(self) -> type[BlogSerializer]:
        return ListedBlogSerializer if self.request.method == "GET" else BlogSerializer

    @extend_schema(operation_id="blog_list", responses=ListedBlogSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List blogs.

        Staff see all, an owner only their own. Of a long description a row has the beginning.
        """
        return self.list(request)

    @extend_schema(operation_id="blog_create")
    def post(self, request: Request) -> Response:
        """Create a blog.

        Owners create blogs of their own, staff of anybody.
        """
        return self.create(request)


class PostList(generics.ListCreateAPIView):
    serializer_class = PostSerializer
    filterset_class = PostFilter
    query_parameters = ()

    def get_queryset(self) -> Any:
        visible = Post.objects.visible_to(self.request.user).select_related("author", "blog")
        return visible.for_list(BEGINNING)

    def get_serializer_class(self) -> type[PostSerializer]:
        return ListedPostSerializer if self.request.method == "GET" else PostSerializer

    @extend_schema(operation_id="post_list", responses=ListedPostSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List posts.

        Staff see all, an owner only their own. Of a long text a row has the beginning.
        """
        return self.list(request)

    @extend_schema(operation_id="post_create")
    def post(self, request: Request) -> Response:
        """Write a post.

        Owners write as themselves in their own blogs, staff as anybody. The event belongs to the author.
        """
        return self.create(request)


class OneOf(generics.RetrieveUpdateDestroyAPIView):
    """A blog or a post, which a PATCH locks until it is changed."""

    http_method_names = ("get", "patch", "delete", "head", "options")
    query_parameters = ()
    rows: BlogQuerySet | PostQuerySet

    def get_queryset(self) -> Any:
        rows = self.rows.visible_to(self.request.user)
        return rows.select_for_update(of=("self",)) if self.request.method == "PATCH" else rows

    def perform_destroy(self, row: Blog | Post) -> None:
        row.erase()


class BlogDetail(OneOf):
    rows = Blog.objects.select_related("owner")
    serializer_class = BlogSerializer

    @extend_schema(operation_id="blog_read")
    def get(self, request: Request, pk: int) -> Response:
        """One blog."""
        return self.retrieve(request)

    @extend_schema(operation_id="blog_change")
    @transaction.atomic
    def patch(self, request: Request, pk: int) -> Response:
        """Change a blog."""
        return self.partial_update(request)

    @extend_schema(operation_id="blog_delete", examples=DONE_EXAMPLE)
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a blog with its posts.

        An event of its author is noted for each post.
        """
        return self.destroy(request)


class PostDetail(OneOf):
    rows = Post.objects.select_related("author", "blog")
    serializer_class = PostSerializer

    @extend_schema(operation_id="post_read")
    def get(self, request: Request, pk: int) -> Response:
        """One post."""
        return self.retrieve(request)

    @extend_schema(operation_id="post_change", request=PostChangeSerializer(partial=True))
    @transaction.atomic
    def patch(self, request: Request, pk: int) -> Response:
        """Change a post's header or text."""
        return self.partial_update(request)

    @extend_schema(operation_id="post_delete", examples=DONE_EXAMPLE)
    def delete(self, request: Request, pk: int) -> Response:
        """Delete a post.

        The event belongs to the author, whoever deletes the post.
        """
        return self.destroy(request)
