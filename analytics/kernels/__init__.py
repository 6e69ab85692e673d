"""The table of kernels: those of this folder, of installed packages and of the setting KERNELS.

A new kernel of this folder is a module with a KERNEL, imported here and added to BUILT_IN. `outside.py` loads
the others.
"""

from analytics.kernels import forecast, well
from analytics.kernels.declaration import Kernel
from analytics.kernels.outside import kernel_table

BUILT_IN = (well.KERNEL, forecast.KERNEL)
KERNELS: dict[str, Kernel] = kernel_table(BUILT_IN)
