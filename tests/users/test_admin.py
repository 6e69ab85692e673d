"""Django admin: pages of each model, analyses, filters and activity."""

import re

import pytest
from django.contrib import admin
from django_celery_results.models import TaskResult

from analytics.activity.models import Blog, Log, PendingEvent, Post
from analytics.models import Analysis, Status
from devices.models import Device, Reading
from tests.support import factories
from tests.users.admin_pages import (
    EVERYTHING,
    FOR_ADMINS,
    PAGES,
    activity_rows,
    changelist,
    choose,
    client,
    queries_of,
    row,
    url,
)
from users.models import User

pytestmark = pytest.mark.django_db(databases=["default", "activity"])
by_model = pytest.mark.parametrize("model", PAGES, ids=lambda model: model.__name__)


class TestPages:
    def test_every_registered_model_is_in_the_table(self):
        assert set(admin.site._registry) == set(PAGES)

    @pytest.mark.parametrize("person", [factories.admin, factories.colleague])
    def test_start_page_shows_only_permitted_sections(self, person):
        user = person()
        response = client(user).get("/admin/")
        assert response.status_code == 200
        assert (b"/admin/users/token/" in response.content) is user.is_admin
        assert b"/admin/devices/device/" in response.content

    @by_model
    @pytest.mark.parametrize("person", [factories.admin, factories.colleague])
    def test_each_page_follows_the_table_of_permissions(self, person, model):
        user, made = person(), row(model)
        seen = client(user)
        is_closed = model in FOR_ADMINS and not user.is_admin
        may = set() if is_closed else PAGES[model]
        pages = {page: url(model, page, made.pk) for page in EVERYTHING - {"add"} if model is not Reading}
        assert seen.get(changelist(model, made)).status_code == (403 if is_closed else 200)
        for page, path in {"add": url(model, "add"), **pages}.items():
            assert seen.get(path).status_code == (200 if page in may else 403), page

    @pytest.mark.parametrize("path", ["/admin/", "/admin/devices/device/", "/admin/users/user/add/"])
    def test_owner_is_redirected_to_the_login(self, path):
        response = client(factories.owner()).get(path)
        assert (response.status_code, "login" in response["Location"]) == (302, True)

    @by_model
    def test_queries_of_a_list_do_not_grow_with_its_rows(self, model):
        seen, first = client(factories.admin()), row(model)
        seen.get(changelist(model, first))
        before = queries_of(lambda: seen.get(changelist(model, first)))
        for _ in range(4):
            row(model)
        if model is Reading:
            factories.readings(first, [(3.0,)] * 20)
        after = queries_of(lambda: seen.get(changelist(model, first)))
        assert len(after) == len(before), after

    @pytest.mark.parametrize("model", [model for model in PAGES if model is not Reading])
    def test_a_list_can_be_searched(self, model):
        made = row(model)
        page = client(factories.admin()).get(url(model, "changelist"), {"q": str(made.pk)[:8]})
        assert page.status_code == 200

    def test_staff_choose_the_owner_of_a_new_device_from_a_plain_list(self):
        seen, owner = client(factories.colleague()), factories.owner()
        form = seen.get(url(Device, "add")).content.decode()
        assert "admin/autocomplete" not in re.search(r"<select[^>]*name=\"owner\"[^>]*>", form)[0]
        fields = {"owner": owner.pk, "profile": factories.profile().pk, "name": "New", "time_zone": "UTC"}
        assert seen.post(url(Device, "add"), fields).status_code == 302
        assert Device.objects.get().owner == owner


class TestAnalyses:
    def test_action_cancels_open_analyses_only(self):
        device = factories.device()
        open_one = Analysis.objects.create(device=device)
        over = Analysis.objects.create(device=device, status=Status.FINISHED)
        response = choose(client(factories.colleague()), Analysis, "cancel", open_one, over)
        assert b"Cancelled: 1." in response.content
        statuses = [Analysis.objects.get(pk=analysis.pk).status for analysis in (open_one, over)]
        assert statuses == [Status.CANCELLED, Status.FINISHED]

    @pytest.mark.parametrize("model", [Analysis, TaskResult])
    def test_rows_written_by_the_product_are_read_only(self, model):
        made = row(model)
        assert client(factories.admin()).post(url(model, "change", made.pk), {}).status_code == 403


class TestFilters:
    @pytest.mark.parametrize(
        "query", ["created_at__year=99999999", "created_at__year=0", "role__exact=%00", "q=%00", "p=99999999"]
    )
    def test_value_that_no_database_accepts_is_refused_or_ignored(self, query):
        response = client(factories.admin()).get(f"{url(User, 'changelist')}?{query}")
        assert response.status_code in (200, 302, 400)


class TestActivity:
    def test_posts_created_and_deleted_here_write_their_events(self):
        seen, blog = client(factories.colleague()), factories.blog()
        fields = {"blog": blog.pk, "author": blog.owner_id, "header": "Frost", "text": "Cold."}
        for _ in range(3):
            assert seen.post(url(Post, "add"), fields).status_code == 302
        first, *_ = Post.objects.all()
        seen.post(url(Post, "change", first.pk), {"header": "New", "text": ""})
        assert Post.objects.get(pk=first.pk).header == "New"
        seen.post(url(Post, "delete", first.pk), {"post": "yes"})
        choose(seen, Blog, "delete_selected", blog, post="yes")
        events = PendingEvent.objects.filter(user_id=blog.owner_id, object_id=blog.pk)
        assert sorted(event.name for event in events) == ["create_post"] * 3 + ["delete_post"] * 3
        assert not Blog.objects.exists()

    def test_logs_show_logins_and_are_searched_by_login(self):
        post = activity_rows()[Post]
        factories.log(987_654_321, "logout")
        seen = client(factories.colleague())
        page = seen.get(url(Log, "changelist"), {"q": post.author.login}).content.decode()
        assert ("comment" in page, "unknown" in page) == (True, False)
        assert "unknown" in seen.get(url(Log, "changelist")).content.decode()
        assert "0 logs" in seen.get(url(Log, "changelist"), {"q": "nobody"}).content.decode()

    def test_list_of_logs_counts_only_up_to_its_last_page(self):
        activity_rows()
        seen = client(factories.colleague())
        page = url(Log, "changelist") + "?_facets=True"
        counts = [sql for sql in queries_of(lambda: seen.get(page)) if "COUNT(" in sql]
        assert counts
        assert all("LIMIT 10000" in sql for sql in counts if "activity_log" in sql)
