"""What can be wrong with a file as a whole, or with how its import is asked for."""

from nocohost import NocohostError


class FileRefusedError(NocohostError):
    """The file cannot be imported: it is no such file, damaged, too large, or not what the params say."""

    code = "exchange.file"


class ImportRefusedError(NocohostError):
    """The params of an import do not fit the resource, or its file."""

    code = "exchange.import"
