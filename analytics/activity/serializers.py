from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from analytics.activity.events.intake import is_text
from analytics.activity.models import Blog, Post
from users.models import User
from users.serializers import StrictFields, Text, WholeNumber

# Lists have so many characters of a long text; the text itself is at the row.
BEGINNING = 1000
NO_USER = "There is no such user."
NO_BLOG = "There is no such blog."


class PlainText(Text):
    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not is_text(text):
            raise serializers.ValidationError("Must not contain NUL or half a surrogate pair.")
        return text


@extend_schema_field(OpenApiTypes.STR)
class Login(PlainText):
    """The login of a user whom the caller may see; an owner can name only themselves."""

    def to_internal_value(self, data: Any) -> Any:
        login = super().to_internal_value(data)
        user = User.objects.visible_to(self.context["request"].user).filter(login=login).first()
        if user is None:
            raise serializers.ValidationError(NO_USER)
        return user

    def to_representation(self, user: Any) -> str:
        return user.login


@extend_schema_field(OpenApiTypes.INT)
class BlogId(WholeNumber):
    """The id of a blog that the caller may see."""

    def to_internal_value(self, data: Any) -> Any:
        number = super().to_internal_value(data)
        visible = Blog.objects.visible_to(self.context["request"].user)
        blog = visible.filter(pk=number).first() if 0 < number < 2**63 else None
        if blog is None:
            raise serializers.ValidationError(NO_BLOG)
        return blog

    def to_representation(self, blog: Any) -> int:
        return blog.pk


class Beginning(serializers.CharField):
    """The beginning of a long text, in a list; `for_list` fetches no more of it."""

    def __init__(self, **options: Any) -> None:
        help_text = f"Its first {BEGINNING} characters; the whole text is at the row itself."
        super().__init__(read_only=True, help_text=help_text, **options)


@extend_schema_serializer(
    examples=[
        OpenApiExample("New", {"name": "Field notes", "description": "", "owner": "ada"}, request_only=True),
        OpenApiExample(
            "Blog",
            {
                "id": 3,
                "name": "Field notes",
                "description": "",
                "owner": "ada",
                "created_at": "2026-11-21T09:30:00Z",
            },
            response_only=True,
        ),
    ]
)
class BlogSerializer(StrictFields, serializers.ModelSerializer):
    name = PlainText(max_length=200)
    description = PlainText(max_length=100_000, allow_blank=True)
    owner = Login(help_text="The login.")

    class Meta:
        model = Blog
        fields: tuple[str, ...] = ("id", "name", "description", "owner", "created_at")
        read_only_fields = ("created_at",)


LISTED_BLOG = {
    "id": 3,
    "name": "Field notes",
    "description": "What the sensors see.",
    "description_length": 21,
    "owner": "ada",
    "created_at": "2026-11-21T09:30:00Z",
}


@extend_schema_serializer(examples=[OpenApiExample("Blog", LISTED_BLOG, response_only=True)])
class ListedBlogSerializer(BlogSerializer):
    """A blog in a list, without a long description."""

    description: Any = Beginning(source="beginning")
    description_length = serializers.IntegerField(source="length", read_only=True, help_text="Characters.")

    class Meta(BlogSerializer.Meta):
        fields = tuple(LISTED_BLOG)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "New",
            {"blog": 3, "author": "ada", "header": "Frost", "text": "The sensor saw it."},
            request_only=True,
        ),
        OpenApiExample(
            "Post",
            {
                "id": 12,
                "blog": 3,
                "author": "ada",
                "header": "Frost",
                "text": "The sensor saw it.",
                "created_at": "2026-11-21T09:30:00Z",
            },
            response_only=True,
        ),
    ]
)
class PostSerializer(StrictFields, serializers.ModelSerializer):
    blog = BlogId(help_text="The blog's id.")
    author = Login(help_text="The login.")
    header = PlainText(max_length=200)
    text = PlainText(max_length=1_000_000, allow_blank=True)

    class Meta:
        model = Post
        fields: tuple[str, ...] = ("id", "blog", "author", "header", "text", "created_at")
        read_only_fields = ("created_at",)

    def validate(self, fields: dict) -> dict:
        fixed = {"blog", "author"} & set(fields) if self.instance else ()
        if fixed:
            raise serializers.ValidationError(dict.fromkeys(fixed, "Cannot be changed later."))
        return fields

    def create(self, fields: dict) -> Post:
        post = Post(**fields)
        post.publish()
        return post


LISTED_POST = {
    "id": 12,
    "blog": 3,
    "author": "ada",
    "header": "Frost",
    "text": "The sensor saw it.",
    "text_length": 18,
    "created_at": "2026-11-21T09:30:00Z",
}


@extend_schema_serializer(examples=[OpenApiExample("Post", LISTED_POST, response_only=True)])
class ListedPostSerializer(PostSerializer):
    """A post in a list, without a long text."""

    text: Any = Beginning(source="beginning")
    text_length = serializers.IntegerField(source="length", read_only=True, help_text="Characters.")

    class Meta(PostSerializer.Meta):
        fields = tuple(LISTED_POST)


# For the schema alone: what `PostSerializer.validate` lets a change have.
@extend_schema_serializer(examples=[OpenApiExample("Change", {"header": "Frost again"}, request_only=True)])
class PostChangeSerializer(StrictFields, serializers.ModelSerializer):
    header = PlainText(max_length=200)
    text = PlainText(max_length=1_000_000, allow_blank=True)

    class Meta:
        model = Post
        fields = ("header", "text")
