"""Middleware, a module for each job; `settings.MIDDLEWARE` gives the order."""

from config.middleware.headers import HEADERS

__all__ = ["HEADERS"]
