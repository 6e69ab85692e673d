from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field

from analytics.activity.models import Blog, Post
from devices.filters import whole_number


class BlogFilter(filters.FilterSet):
    owner = filters.CharFilter(field_name="owner__login")

    class Meta:
        model = Blog
        fields = ()


class PostFilter(filters.FilterSet):
    blog = extend_schema_field(OpenApiTypes.INT)(
        filters.CharFilter(field_name="blog_id", validators=[whole_number])
    )
    author = filters.CharFilter(field_name="author__login")

    class Meta:
        model = Post
        fields = ()
