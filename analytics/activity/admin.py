from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest

from analytics.activity.models import Blog, EventType, Log, PendingEvent, Post, SpaceType
from users.admin import ReadOnlyAdmin, UncountedPaginator
from users.models import User
from users.permissions import signed_in


class ErasingAdmin(admin.ModelAdmin):
    """Deletes through `erase`, as the API does, so that events are noted."""

    long_texts: tuple[str, ...]

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        # A list of long texts would take hundreds of megabytes.
        return super().get_queryset(request).defer(*self.long_texts)

    def delete_model(self, request: HttpRequest, obj: Blog | Post) -> None:
        obj.erase()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        for row in queryset:
            row.erase()

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        # Staff may not search users: they get a plain list.
        people = ("owner", "author")
        return tuple(f for f in self.autocomplete_fields if signed_in(request).is_admin or f not in people)


@admin.register(Blog)
class BlogAdmin(ErasingAdmin):
    long_texts = ("description",)
    list_display = ("name", "owner", "created_at")
    list_select_related = ("owner",)
    search_fields = ("name", "owner__login")
    autocomplete_fields = ("owner",)


@admin.register(Post)
class PostAdmin(ErasingAdmin):
    long_texts = ("text", "blog__description")
    list_display = ("header", "author", "blog", "created_at")
    list_select_related = ("author", "blog")
    search_fields = ("header", "author__login", "blog__name")
    autocomplete_fields = ("author", "blog")

    def get_readonly_fields(self, request: HttpRequest, obj: Post | None = None) -> tuple[str, ...]:
        # The event of the post was noted with this blog and author.
        return ("blog", "author") if obj else ()

    def save_model(self, request: HttpRequest, obj: Post, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
        else:
            obj.publish()


@admin.register(PendingEvent)
class PendingEventAdmin(ReadOnlyAdmin):
    """Events that wait for the activity database: normally none."""

    list_display = ("at", "name", "user_id", "object_id")


class LogList(ChangeList):
    """Logs with the logins of their users, which are in the other database."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        users = User.objects.filter(pk__in={log.user_id for log in self.result_list})
        logins = dict(users.values_list("pk", "login"))
        for log in self.result_list:
            log.login = logins.get(log.user_id)


class LogAdmin(ReadOnlyAdmin):
    """Logs, newest first, searched by login. Counting the table would scan it, so nothing does."""

    list_display = ("at", "login", "event_type", "object_id")
    list_filter = ("event_type",)
    list_select_related = ("event_type",)
    list_per_page = 100
    search_fields = ("user_id",)
    search_help_text = "The exact login."
    show_full_result_count = False
    # Facets would count every row of the table.
    show_facets = admin.ShowFacets.NEVER
    paginator = UncountedPaginator

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return LogList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple:
        if not search_term:
            return queryset, False
        user = User.objects.filter(login=search_term).first()
        return (queryset.filter(user_id=user.pk) if user else queryset.none()), False

    @admin.display(description="user", empty_value="unknown")
    def login(self, log: Log) -> str | None:
        return log.login


class TypeAdmin(ReadOnlyAdmin):
    list_display = ("name", "id")


# Logs in ClickHouse have no rows that Django could show.
if "activity" in settings.DATABASES:
    admin.site.register(Log, LogAdmin)
    admin.site.register([EventType, SpaceType], TypeAdmin)
