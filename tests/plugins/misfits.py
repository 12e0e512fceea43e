"""Every way in which a plugin can be wrong, each as a distribution of its own.

All of them are installed together, beside a good neighbour: what one does must not touch another.
"""

from plugins.misfit_declarations import DECLARING, ROUTES
from plugins.misfit_names import EXTENDING, NAMES
from plugins.misfit_services import IMPORTS, RETURNS, SIGNATURES

MISFITS = [*IMPORTS, *SIGNATURES, *RETURNS, *NAMES, *EXTENDING, *DECLARING, *ROUTES]
