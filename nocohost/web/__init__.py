"""The HTTP side: one aiohttp application for requests, one small one for the admin port."""

from nocohost.web.deferred_certificates import defer_certificates

defer_certificates()
