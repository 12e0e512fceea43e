"""Why an export cannot be made, whoever tries it again."""

from nocohost import NocohostError


class ExportFailedError(NocohostError):
    """The records cannot be written as asked."""

    code = "exchange.export"
