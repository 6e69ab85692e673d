"""Bounds of uploads: imports by staff, whose files Django reads while they are received."""

from django.conf import settings

UPLOAD_PATH = "/portal/import"
# The file, and what the form has around it.
MAX_UPLOAD_BYTES = settings.IMPORT_MEBIBYTES * 1024 * 1024 + 64 * 1024
# In a process. Each holds a thread until it is received.
UPLOADS_AT_ONCE = 2
# An upload may take as many times longer than another body.
UPLOAD_PATIENCE = 10
