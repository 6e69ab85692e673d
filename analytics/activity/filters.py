from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema_field

from analytics.activity.models import Blog, Post
from devices.filters import ROW_ID, whole_number
from users.filters import TextFilter


class BlogFilter(filters.FilterSet):
    owner = TextFilter(field_name="owner__login")

    class Meta:
        model = Blog
        fields = ()


class PostFilter(filters.FilterSet):
    blog = extend_schema_field(ROW_ID)(filters.CharFilter(field_name="blog_id", validators=[whole_number]))
    author = TextFilter(field_name="author__login")

    class Meta:
        model = Post
        fields = ()
