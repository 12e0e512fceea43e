"""The HTTP side: one aiohttp application for requests, one small one for the admin port."""
