from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from devices import exclusions, profiles, storage
from devices.models import Channel, Device, DeviceKey, DeviceProfile, Exclusion, Import, Reading
from users.admin import CredentialAdmin, HolderAdmin, ReadOnlyAdmin, UncountedPaginator, show_once
from users.permissions import signed_in

OVERLAP = timedelta(days=1)


class ChannelInline(admin.TabularInline):
    """Channels of a profile; `devices.profiles` says when they are fixed."""

    model = Channel
    extra = 1
    # A reading needs at least one value.
    min_num = 1

    def get_formset(self, request: HttpRequest, obj: DeviceProfile | None = None, **options: Any) -> type:
        return super().get_formset(request, obj, **options, validate_min=True)

    def has_add_permission(self, request: HttpRequest, obj: DeviceProfile | None = None) -> bool:
        return super().has_add_permission(request, obj) and not is_fixed(obj)

    def has_delete_permission(self, request: HttpRequest, obj: DeviceProfile | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_fixed(obj)

    def get_readonly_fields(self, request: HttpRequest, obj: DeviceProfile | None = None) -> tuple[str, ...]:
        return ("position", "name") if is_fixed(obj) else ()


@admin.register(DeviceProfile)
class DeviceProfileAdmin(admin.ModelAdmin):
    list_display = ("name", "description", "channel_names")
    search_fields = ("name", "description")
    inlines = (ChannelInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        return super().get_queryset(request).prefetch_related("channels")

    def get_readonly_fields(self, request: HttpRequest, obj: DeviceProfile | None = None) -> tuple[str, ...]:
        return ("name",) if obj is not None and profiles.is_built_in(obj) else ()

    def has_delete_permission(self, request: HttpRequest, obj: DeviceProfile | None = None) -> bool:
        return super().has_delete_permission(request, obj) and not is_fixed(obj)

    @admin.display(description="channels")
    def channel_names(self, profile: DeviceProfile) -> str:
        return ", ".join(map(str, profile.channels.all()))


@admin.register(Device)
class DeviceAdmin(HolderAdmin):
    list_display = ("__str__", "uuid", "owner", "profile", "is_active", "readings")
    list_filter = ("is_active", "profile")
    list_select_related = ("owner", "profile")
    search_fields = ("name", "external_id", "uuid", "owner__login")
    autocomplete_fields = ("owner", "profile")
    readonly_fields = ("uuid", "created_at", "readings")
    actions = ("rotate_keys",)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple:
        """Allow the deletion of exclusions along with their device; alone they can't be deleted."""
        deleted, counts, forbidden, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, forbidden - {Exclusion._meta.verbose_name}, protected

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:
        # The profile gives the stored values their meaning.
        return (*self.readonly_fields, "profile") if obj else self.readonly_fields

    def get_autocomplete_fields(self, request: HttpRequest) -> tuple[str, ...]:
        # Staff may not search users: they get a plain list of choices.
        return self.autocomplete_fields if signed_in(request).is_admin else ("profile",)

    @admin.display(description="readings")
    def readings(self, device: Device) -> str:
        if not device.pk:
            return "-"
        if not storage.is_own_table():
            return format_html('<a href="{}">show</a>', reverse("analytics:device", args=[device.uuid]))
        url = reverse("admin:devices_reading_changelist")
        return format_html('<a href="{}?device__id__exact={}">show</a>', url, device.pk)

    @admin.action(description="Rotate keys (older keys expire in a day)")
    def rotate_keys(self, request: HttpRequest, devices: QuerySet) -> HttpResponse:
        texts = [(str(device), device.rotate_key(overlap=OVERLAP)[1]) for device in devices]
        return show_once(request, self.admin_site, Device, texts)

    def save_model(self, request: HttpRequest, obj: Device, form: ModelForm, change: bool) -> None:
        """Save what was changed here: another person may have changed the rest meanwhile."""
        obj.save(update_fields=form.changed_data if change else None)

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        obj.erase()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet) -> None:
        with transaction.atomic():
            for device in queryset:
                device.erase()


@admin.register(DeviceKey)
class DeviceKeyAdmin(CredentialAdmin):
    fields = ("device", "expires_at", "prefix", "created_at", "last_used_at", "revoked_at")
    list_display = ("prefix", "device", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("device",)
    autocomplete_fields = ("device",)
    search_fields = ("prefix", "device__name", "device__uuid")

    def get_readonly_fields(self, request: HttpRequest, obj: DeviceKey | None = None) -> tuple[str, ...]:
        return (*self.readonly_fields, "device") if obj else self.readonly_fields


@admin.register(Exclusion)
class ExclusionAdmin(ReadOnlyAdmin):
    """Lists exclusions and lifts them; they are made on a device's page, beside its readings."""

    list_display = ("device", "start_time", "end_time", "values", "reason", "made_by", "made_at", "lifted_at")
    list_filter = (("lifted_at", admin.EmptyFieldListFilter),)
    list_select_related = ("device",)
    search_fields = ("reason", "made_by", "device__name", "device__uuid")
    actions = ("lift",)

    @admin.action(description="Lift selected exclusions (their readings count again)", permissions=["view"])
    def lift(self, request: HttpRequest, chosen: QuerySet) -> None:
        by, now = signed_in(request).login, timezone.now()
        count = sum(exclusions.lift(exclusion, by=by, now=now) for exclusion in chosen)
        messages.success(request, f"Lifted: {count}.")


@admin.register(Import)
class ImportAdmin(ReadOnlyAdmin):
    list_display = ("name", "options", "line", "stored", "refused", "started_at", "finished_at")
    search_fields = ("name", "options", "digest")


class ReadingAdmin(ReadOnlyAdmin):
    """Lists the newest readings of one device. The API pages through all of them."""

    list_display = ("time", "device", "values")
    list_display_links = None
    list_select_related = ("device",)
    list_per_page = 100
    show_full_result_count = False
    paginator = UncountedPaginator
    ordering = ("-time",)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        readings = super().get_queryset(request)
        # Finding the newest readings of all devices would scan the table.
        return readings if "device__id__exact" in request.GET else readings.none()

    def changelist_view(self, request: HttpRequest, extra_context: dict | None = None) -> Any:
        if "device__id__exact" not in request.GET:
            messages.info(request, "Choose a device first: its page links to its readings.")
        return super().changelist_view(request, extra_context)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """Return None: the table has no key, so a reading has no page."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "device__id__exact" or super().lookup_allowed(lookup, value, request)


# Django can list readings only in its own database.
if storage.is_own_table():
    admin.site.register(Reading, ReadingAdmin)


def is_fixed(profile: DeviceProfile | None) -> bool:
    return profile is not None and bool(profiles.why_fixed(profile))
